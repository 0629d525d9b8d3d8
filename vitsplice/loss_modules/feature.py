"""One loss term as a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vitsplice.config import TermConfig
from vitsplice.contracts import Backbone, ImageName, LossSpec, TermContext
from vitsplice.engine.images import ViewKey
from vitsplice.engine.terms import WeightedTerm
from vitsplice.errors import UserError
from vitsplice.loss_modules.terms import TermsLoss, loaded, resized
from vitsplice.losses.terms import APPEARANCE, IDENTITY, STRUCTURE
from vitsplice.options import complete
from vitsplice.plugins import catalogue


class FeatureLoss(TermsLoss):
    """One loss term as a module: of two batches of images, or of one and the targets that were set.

    Args:
        backbone: its name, or a loaded one (`vitsplice.load_backbone`).
        spec: the loss term, or its name (``vitsplice list losses``).
        size: the shorter side in pixels that images are resized to before the backbone; None takes them as they are.
        facet, layer: in place of the backbone's default for the term's role.
        check: whether to check the range of the values of every output; on a GPU that waits for the device.
        options: the term's own, by name.
        more: the term's own options too, e.g. ``form="norm"``.

    Raises:
        UserError: saying what is not known or does not fit.
    """

    def __init__(
        self,
        backbone: Backbone | str,
        spec: LossSpec | str,
        *,
        size: int | None = 224,
        facet: str | None = None,
        layer: int | None = None,
        check: bool = True,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        backbone = loaded(backbone)
        if not isinstance(spec, str | LossSpec):
            raise UserError(f"spec is the name of a loss term, or a LossSpec, not a {type(spec).__name__}")
        self.spec = catalogue().losses[spec] if isinstance(spec, str) else spec
        chosen = complete(self.spec, {**(options or {}), **more})
        built = self.spec.build(TermContext(backbone.info, facet, layer, chosen))
        config = TermConfig(loss=self.spec.name, weight=1, view="entire")
        places: tuple[ViewKey, ViewKey] = (self.spec.input, "entire"), (self.spec.target, "entire")
        term = WeightedTerm(self.spec.name, built, config, *places, weight=1.0)
        super().__init__(backbone, (term,), resized(size), check)

    def forward(self, output: Tensor, target: Tensor | None = None) -> Tensor:
        """The unweighted loss, a scalar: the mean over the batch.

        Args:
            output: generated images ``(B, 3, H, W)`` or ``(3, H, W)`` in [0, 1]; gradients flow to them, in their own
                floating type.
            target: images to compare with, likewise, in place of those of `set_targets` for the term's target; no
                gradients flow to them, and their features are computed at each call.

        Raises:
            UserError: if one is no batch of images, or an image that the term needs was not set.
        """
        outputs: dict[ImageName, Tensor] = {self.spec.input: self._output(output, "output")}
        if target is None:
            return self._values(outputs)[self.spec.name]
        given = self._output(target, "target").detach()
        return self._values(outputs, {**self._images, self.spec.target: given})[self.spec.name]


class AppearanceLoss(FeatureLoss):
    """Distance of [CLS] tokens (paper, equation 3). See `FeatureLoss`."""

    def __init__(self, backbone: Backbone | str, **settings: Any) -> None:
        super().__init__(backbone, APPEARANCE, **settings)


class StructureLoss(FeatureLoss):
    """Distance of key self-similarities (paper, equations 2 and 4). See `FeatureLoss`."""

    def __init__(self, backbone: Backbone | str, **settings: Any) -> None:
        super().__init__(backbone, STRUCTURE, **settings)


class IdentityLoss(FeatureLoss):
    """Distance of keys (paper, equation 5). See `FeatureLoss`."""

    def __init__(self, backbone: Backbone | str, **settings: Any) -> None:
        super().__init__(backbone, IDENTITY, **settings)
