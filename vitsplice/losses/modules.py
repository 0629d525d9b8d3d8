"""The losses as modules for somebody else's training loop.

loss = StructureLoss(vitsplice.load_backbone("dinov2-vits14-offline"))
loss(output, target).backward()
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vitsplice.backbones.resize import Resize
from vitsplice.contracts import Backbone, LossSpec, TermContext
from vitsplice.losses.terms import APPEARANCE, IDENTITY, STRUCTURE
from vitsplice.options import complete


class FeatureLoss(nn.Module):
    """Any loss term as a module of two batches of pictures.

    Args:
        backbone: a loaded backbone; its device decides where the pictures have to be.
        spec: the loss term.
        size: the shorter side that pictures are resized to before the backbone; None takes them as they are.
        facet, layer: in place of the backbone's default for the term's role.
        options: the term's own, e.g. ``form="norm"``.
    """

    def __init__(
        self,
        backbone: Backbone,
        spec: LossSpec,
        *,
        size: int | None = 224,
        facet: str | None = None,
        layer: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.resize = Resize(size, None, "bicubic")
        self.term = spec.build(TermContext(backbone.info, facet, layer, complete(spec, options)))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The unweighted loss.

        Args:
            output: generated pictures ``(B, 3, H, W)`` in [0, 1]; gradients flow to them.
            target: pictures of the same size ``(B, 3, H, W)`` in [0, 1]; no gradients flow to them.
        """
        info = self.backbone.info
        made = self.backbone(self.resize(output, info), self.term.requests)
        wanted = self.backbone(self.resize(target.detach(), info), self.term.requests)
        return self.term.function(made, wanted)


class AppearanceLoss(FeatureLoss):
    """Distance of [CLS] tokens (paper, equation 3). See `FeatureLoss`."""

    def __init__(self, backbone: Backbone, **settings: Any) -> None:
        super().__init__(backbone, APPEARANCE, **settings)


class StructureLoss(FeatureLoss):
    """Distance of key self-similarities (paper, equations 2 and 4). See `FeatureLoss`."""

    def __init__(self, backbone: Backbone, **settings: Any) -> None:
        super().__init__(backbone, STRUCTURE, **settings)


class IdentityLoss(FeatureLoss):
    """Distance of keys (paper, equation 5). See `FeatureLoss`."""

    def __init__(self, backbone: Backbone, **settings: Any) -> None:
        super().__init__(backbone, IDENTITY, **settings)
