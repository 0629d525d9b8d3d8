"""All loss terms of a preset as a module."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitsplice.backbones.sizing import Area, Resize
from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone, ImageName
from vitsplice.engine import problem
from vitsplice.engine.backbones import load_configured
from vitsplice.engine.images import RunImages
from vitsplice.engine.terms import WeightedTerm
from vitsplice.engine.warm_start import start_image
from vitsplice.errors import ConfigError, UserError
from vitsplice.loss_modules.terms import Batches, TermsLoss, resized, singles
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import DEFAULT_PRESET, settings_for

logger = logging.getLogger(__name__)


class PresetLoss(TermsLoss):
    """The weighted terms of a run's settings as a module; `from_preset` makes one by name.

    Args:
        config: the settings.
        backbone: loaded.
        size: the shorter side in pixels that images are resized to before the backbone; None: the size that the
            settings work at, which is that of their last stage.
        check: see `FeatureLoss`.
    """

    def __init__(self, config: RunConfig, backbone: Backbone, *, size: int | None = None, check: bool = True) -> None:
        if not config.terms:
            raise ConfigError("these settings have no loss terms; `vitsplice presets` lists those that have steps")
        entire = {n: t.model_copy(update={"view": "entire", "target_view": None}) for n, t in config.terms.items()}
        config = config.model_copy(update={"terms": entire})
        terms = problem.weighted_terms(config, backbone, catalogue())
        look = Area(config.stages[-1].side, enlarge=False) if config.stages else Resize(**config.resize.model_dump())
        mean = tuple(replace(term, weight=term.weight / term.config.every) for term in terms)
        super().__init__(backbone, mean, look if size is None else resized(size), check)
        self.config = config

    def forward(
        self, output: Tensor, reconstruction: Tensor | None = None, *, unreduced: bool = False
    ) -> Tensor | dict[str, Tensor]:
        """The weighted sum of the terms, a scalar: the mean over the batch.

        Args:
            output: generated images ``(B, 3, H, W)`` or ``(3, H, W)`` in [0, 1], as large as the structure images;
                gradients flow to them, in their own floating type.
            reconstruction: what your network makes of the appearance images, likewise; only for terms that compare it
                with them (``identity``).
            unreduced: return the *unweighted* value of each term by its name; `weights` has the weights.

        Raises:
            UserError: if one is no batch of images, or is missing.
        """
        inputs = {term.input[0] for term in self.terms}
        outputs: dict[ImageName, Tensor] = {}
        if "structure" in inputs:
            outputs["structure"] = self._output(output, "output")
        if "appearance" in inputs:
            if reconstruction is None:
                raise UserError(_no_reconstruction(self.terms))
            outputs["appearance"] = self._output(reconstruction, "reconstruction")
        values = self._values(outputs)
        return values if unreduced else torch.stack([t.weight * values[t.name] for t in self.terms]).sum()

    def _start(self, images: Batches) -> Tensor:
        """What the preset starts from: the structure images, or their warm starts."""
        if self.config.start == "structure" or "appearance" not in images:
            return images["structure"]
        structures, appearances = (singles(images[image]) for image in ("structure", "appearance"))
        rows = range(max(len(structures), len(appearances)))
        pairs = [(structures[row % len(structures)], appearances[row % len(appearances)]) for row in rows]
        return torch.cat(
            [start_image(self.config, RunImages({"structure": s, "appearance": a}), self.backbone) for s, a in pairs]
        )


def from_preset(
    preset: str | os.PathLike[str] | RunConfig = DEFAULT_PRESET,
    structure: Any = None,
    appearance: Any = None,
    *,
    backbone: Backbone | str | None = None,
    size: int | None = None,
    structure_strength: float | None = None,
    appearance_strength: float | None = None,
    overrides: Iterable[str] = (),
    check: bool = True,
) -> PresetLoss:
    """The loss terms of a preset as a module that maps an output to a scalar.

    What a run of the preset does besides is left to your loop: the generator, the optimiser, stages (one size: the last
    stage's), views (the entire image, always) and schedules (a term that runs every n-th step counts 1/n of its
    weight; ``start`` is ignored). It computes in float32, whatever the preset's precision.

    Args:
        preset: the name of a preset, a YAML file, or settings.
        structure, appearance: see `TermsLoss.set_targets`; they may be set later.
        backbone: its name, or a loaded one; None: the preset's, or what stands in for it, which is logged.
        size: see `PresetLoss`.
        structure_strength, appearance_strength: from 0 on; 1 is as the preset has it.
        overrides: ``dotted.key=value``, e.g. ``terms.texture.weight=4``.
        check: see `FeatureLoss`.

    Raises:
        UserError: saying what is not known or does not fit.
        WeightsUnavailable: if neither the weights of the backbone nor those of a fallback are available.
    """
    settings = settings_for(
        preset,
        backbone=backbone,
        structure_strength=structure_strength,
        appearance_strength=appearance_strength,
        overrides=overrides,
    )
    if backbone is None or isinstance(backbone, str):
        backbone, substitution = load_configured(settings.backbone, catalogue())
        if substitution is not None:
            logger.warning("%s", substitution)
    loss = PresetLoss(settings, backbone, size=size, check=check)
    return loss if structure is None and appearance is None else loss.set_targets(structure, appearance)


def _no_reconstruction(terms: tuple[WeightedTerm, ...]) -> str:
    names = [term.name for term in terms if term.input[0] == "appearance"]
    out = ", ".join(f'"terms.{name}.weight=0"' for name in names)
    return (
        f"term '{names[0]}' compares the appearance image with what your network makes of it: loss(output, "
        f"reconstruction); or leave it out: from_preset(..., overrides=[{out}])"
    )
