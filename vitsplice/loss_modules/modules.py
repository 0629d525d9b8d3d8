"""The loss modules: one loss term, and all loss terms of a preset."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitsplice.backbones.inputs import Area, Fit, Resize, Resizing
from vitsplice.config import ONLY, BackboneConfig, RunConfig, TermConfig
from vitsplice.contracts import Backbone, ImageName, LossSpec, TermContext
from vitsplice.engine import problem
from vitsplice.engine.backbones import Loaded, load_all, load_backbone, load_configured
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import RunImages, ViewKey
from vitsplice.engine.start import prepare
from vitsplice.engine.terms import WeightedTerm
from vitsplice.errors import ConfigError, Setting, UserError
from vitsplice.loss_modules.base import Batches, TermsLoss, paired_rows, resize_to_side
from vitsplice.losses.terms import APPEARANCE, IDENTITY, STRUCTURE
from vitsplice.matching import MatchVectors
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.plugins.build import build_part
from vitsplice.presets.settings import DEFAULT_PRESET, name_of, settings_for
from vitsplice.text import type_with_article

logger = logging.getLogger(__name__)


class FeatureLoss(TermsLoss):
    """One loss term as a module.

    Args:
        backbone: name of a backbone, or a loaded one (`vitsplice.load_backbone`).
        spec: the loss term, or its name (``vitsplice list losses``).
        size: shorter side in pixels that images are resized to before the backbone, up to rounding to a size that it
            accepts; None: images keep their size, which the backbone must accept.
        facet, layer: feature to use in place of the backbone's default for the term.
        check: check the value range of the images that are passed in a call. On a GPU, this check waits for the device.
        options: options of the term by name.
        more_options: options of the term as keyword arguments, e.g. ``form="norm"``; they override ``options``.

    Raises:
        UserError: if a name is unknown, or a value is not allowed.
        WeightsUnavailable: if the weights of the backbone are unavailable.
        PartRejected: if the plugin of the backbone or of the loss term fails.
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
        **more_options: Any,
    ) -> None:
        if name_of(backbone) is None:
            raise UserError("backbone is missing: give the name of a backbone, or a loaded one")
        backbone = load_backbone(backbone) if isinstance(backbone, str) else backbone
        if not isinstance(spec, str | LossSpec):
            raise UserError(f"spec must be the name of a loss term, or a LossSpec, not {type_with_article(spec)}")
        self.spec = catalogue().losses[spec] if isinstance(spec, str) else spec
        all_options = complete(self.spec, {**(options or {}), **more_options})
        built = build_part(self.spec, TermContext(backbone.info, facet, layer, all_options))
        config = TermConfig(loss=self.spec.name, weight=1, view="entire")
        views: tuple[ViewKey, ViewKey] = (self.spec.input, "entire"), (self.spec.target, "entire")
        term = WeightedTerm(self.spec.name, built, config, ONLY, *views, weight=1.0)
        super().__init__({ONLY: SizedBackbone(backbone, resize_to_side(size))}, (term,), check)

    def forward(self, output: Tensor, target: Tensor | None = None) -> Tensor:
        """Compute the unweighted loss, averaged over the batch, a scalar.

        Args:
            output: generated images ``(B, 3, H, W)`` or ``(3, H, W)`` in [0, 1]. Gradients flow to them, in their
                dtype.
            target: images of the same layout that replace the term's target image of `set_targets` in this call; the
                other images that were set are still used. No gradients flow to the target. With a target, the features
                of all images are computed in each call.

        Raises:
            UserError: if a batch is invalid, or an image that the term needs is not set.
        """
        outputs: dict[ImageName, Tensor] = {self.spec.input: self._checked(output, "output")}
        if target is None:
            return self._values(outputs)[self.spec.name]
        targets = self._checked(target, "target").detach()
        return self._values(outputs, {**self._images, self.spec.target: targets})[self.spec.name]


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


class PresetLoss(TermsLoss):
    """The weighted loss terms of a run's settings as a module, except for terms that no stage uses; see `from_preset`.

    Args:
        config: settings of the run.
        backbones: loaded backbones by their keys in the settings.
        size: shorter side in pixels that images are resized to before the backbones. None: images are reduced to about
            ``side * side`` pixels, never enlarged; ``side`` is the backbone's setting if that is a number, or else that
            of the last stage that is not on tiles. Without such a stage, images are resized as the setting ``resize``
            says, or, for a backbone with ``side: view``, to the nearest size that it accepts.
        check: see `FeatureLoss`.

    Raises:
        ConfigError: if the settings have no active loss terms, start from a model, or have a term that a loss module
            cannot evaluate.
    """

    def __init__(
        self, config: RunConfig, backbones: Mapping[str, Backbone], *, size: int | None = None, check: bool = True
    ) -> None:
        if not config.terms:
            raise ConfigError("these settings have no loss terms; use another preset, such as quick")
        if config.start == "model":
            raise ConfigError(
                "a loss module does not apply models; choose another start with ", Setting("start", "match")
            )
        terms_on_entire = {
            name: term.model_copy(update={"view": "entire", "target_view": None, "start": 0})
            for name, term in config.terms.items()
            if not config.stages or any(stage.has(name) for stage in config.stages)
        }
        # At least 1 step: `weighted_terms` rejects settings whose terms are never active, as in a run without steps.
        config = config.model_copy(update={"terms": terms_on_entire, "steps": max(1, config.steps)})
        terms = problem.weighted_terms(config, backbones, catalogue())
        averaged = tuple(replace(term, weight=term.weight / term.config.every) for term in terms)
        sized = {
            name: SizedBackbone(backbone, _resizer(config, name) if size is None else resize_to_side(size))
            for name, backbone in backbones.items()
        }
        super().__init__(sized, averaged, check)
        self.config = config
        if self._mirrors and (names := [term.name for term in terms if term.input[0] == "appearance"]):
            raise ConfigError(
                f"term '{names[0]}' compares the appearance image with your network's output for it, but the start "
                "match may take the mirror image of the appearance image; choose another start with ",
                Setting("start", "structure"),
            )

    @property
    def _mirrors(self) -> bool:
        return self.config.start == "match"

    def forward(
        self, output: Tensor, reconstruction: Tensor | None = None, *, unreduced: bool = False
    ) -> Tensor | dict[str, Tensor]:
        """Compute the weighted sum of the terms, averaged over the batch, a scalar.

        Args:
            output: generated images ``(B, 3, H, W)`` or ``(3, H, W)`` in [0, 1], as large as the structure images.
                Gradients flow to them, in their dtype.
            reconstruction: output of your network for the appearance images, as large as these. It is required by terms
                that compare the two, such as ``identity``, and ignored if there are none.
            unreduced: return, instead of the sum, a dict of the *unweighted* value of each term, averaged over the
                batch; see `weights`.

        Raises:
            UserError: if a batch is invalid or missing.
        """
        inputs = {term.input[0] for term in self.terms}
        outputs: dict[ImageName, Tensor] = {}
        if "structure" in inputs:
            outputs["structure"] = self._checked(output, "output")
        if "appearance" in inputs:
            if reconstruction is None:
                raise UserError(self._missing_reconstruction())
            outputs["appearance"] = self._checked(reconstruction, "reconstruction")
        values = self._values(outputs)
        return values if unreduced else torch.stack([t.weight * values[t.name] for t in self.terms]).sum()

    def _missing_reconstruction(self) -> str:
        names = [term.name for term in self.terms if term.input[0] == "appearance"]
        overrides = ", ".join(f'"terms.{name}.weight=0"' for name in names)
        return (
            f"term '{names[0]}' compares the appearance image with your network's output for it; pass that output: "
            f"loss(output, reconstruction), or omit the term: from_preset(..., overrides=[{overrides}])"
        )

    def _prepare(self, images: Batches, guided: bool) -> tuple[Batches, list[MatchVectors]]:
        if self.config.start == "structure" and not guided:
            return super()._prepare(images, guided)
        backbones = {name: sized.backbone for name, sized in self.backbones.items()}
        starts = [
            prepare(self.config, RunImages({"structure": structure, "appearance": appearance}), backbones, guided)
            for structure, appearance in paired_rows(images["structure"], images["appearance"])
        ]
        prepared: Batches = {
            name: torch.cat([start.images.pixels[name] for start in starts]) for name in ("start", "appearance")
        }
        return {**images, **prepared}, [start.vectors for start in starts if start.vectors is not None]


def _resizer(config: RunConfig, backbone: str) -> Resizing:
    """Return the resizing of entire images for a backbone of a preset."""
    side = config.backbones[backbone].side
    stage_sides = [stage.side for stage in config.stages if not stage.tile]
    if isinstance(side, int):
        return Area(side, enlarge=False)
    if stage_sides:
        return Area(stage_sides[-1], enlarge=False)
    return Fit() if side == "view" else Resize(**config.resize.model_dump())


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
    """Return the loss terms of a preset as a module that maps an output to a scalar.

    The other parts of a preset are up to your training loop: generator, optimiser, stages (all terms that any stage has
    are used; see also ``size``), views (the entire image is used) and schedules (a term that is active every n-th step
    has 1/n of its weight; its first step, ``terms.NAME.start``, is ignored). Everything is computed in float32,
    whatever the precision of the preset.

    Args:
        preset: name of a preset, a YAML file, or settings.
        structure, appearance: see `TermsLoss.set_targets`; they may be set later.
        backbone: name of the first backbone, or a loaded one; None: that of the preset, or its fallback.
        size: see `PresetLoss`.
        structure_strength, appearance_strength: factors from 0 to 10 of the weights of terms whose target is the
            structure image or the start, and of terms whose target is the appearance image; see
            `vitsplice.config.RunConfig`.
        overrides: ``dotted.key=value``, e.g. ``terms.texture.weight=4``.
        check: see `FeatureLoss`.

    Raises:
        UserError: if a name is unknown, or a value is not allowed.
        WeightsUnavailable: if neither the weights of the backbone nor those of a fallback are available.
    """
    settings = settings_for(
        preset,
        backbone=backbone,
        structure_strength=structure_strength,
        appearance_strength=appearance_strength,
        overrides=overrides,
    )
    loaded_backbone = None if isinstance(backbone, str) else backbone

    def load(config: BackboneConfig) -> Loaded:
        if loaded_backbone is not None and config == settings.backbone:
            return loaded_backbone, None
        return load_configured(config, catalogue())

    settings, backbones, substitutions = load_all(settings, load)
    for substitution in substitutions.values():
        logger.warning("%s", substitution)
    loss = PresetLoss(settings, backbones, size=size, check=check)
    if (weight := next(loss.networks.parameters(), None)) is not None:
        loss.to(weight.device)  # all backbones to the device of the first, which may be a loaded one
    return loss if structure is None and appearance is None else loss.set_targets(structure, appearance)
