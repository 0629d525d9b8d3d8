"""The transfer to single frames: matching with the appearance images, start, and steps of the preset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone
from vitsplice.engine import memory
from vitsplice.engine.backbones import BackboneLoader, Substitution, load_settings
from vitsplice.engine.conditions import DescribedImage, described_image, needs_match, pair_condition
from vitsplice.engine.images import RunImages
from vitsplice.engine.problem import Components, check_run
from vitsplice.engine.stages import StagedOptimisation
from vitsplice.engine.start import describe_for_match, start_with, warm_start_strengths
from vitsplice.engine.warm_start import warm_start_from_maps, warm_start_maps
from vitsplice.errors import UserError
from vitsplice.matching import Candidate, Correspondence, Preference, concatenated, match_candidates
from vitsplice.models.loading import model_of
from vitsplice.models.model import Model
from vitsplice.numerics import numerics
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import pinned
from vitsplice.video.appearances import Appearances


@dataclass(frozen=True)
class FrameTransfer:
    """The transfer of the appearance of one or several images to frames, with backbones and model loaded.

    Args:
        settings: settings of a run, with the device, precision and backbones that are in use.
        device: device of the computations.
        backbones: backbones by their keys in the settings.
        images: the appearance images and their masks, on the device.
        described: each appearance image, with what matching and the conditions of a model need of it.
        uses_match: whether the start or a loss term needs the correspondence.
        model: trained model; None for other presets.
        substitutions: fallbacks that are used instead of backbones, by key of the backbone.
    """

    settings: RunConfig
    device: torch.device
    backbones: dict[str, Backbone]
    images: RunImages
    described: tuple[DescribedImage, ...] = field(repr=False)
    uses_match: bool
    model: Model | None = None
    substitutions: dict[str, Substitution] = field(default_factory=dict)

    @property
    def backbone(self) -> Backbone:
        """The first backbone, which describes images for a model."""
        return next(iter(self.backbones.values()))

    @property
    def optimises(self) -> bool:
        """Whether the preset takes steps."""
        return self.settings.steps > 0

    @numerics(grad=False)
    def match(self, frame: Tensor, preference: Callable[[Tensor], Preference] | None = None) -> Correspondence | None:
        """Match a frame with the appearance images; return None if neither start nor loss terms use the correspondence.

        Args:
            frame: ``(1, 3, H, W)``, on the device.
            preference: function of the mean colours of the patches of the appearance images, ``(M, 3)``, that returns
                the preferred matches; None: no matches are preferred.
        """
        if not self.uses_match:
            return None
        description = describe_for_match(frame, self.backbones, self.settings, mirror=False)
        candidates = self._candidates()
        colours = concatenated([candidate.description.colours for candidate in candidates])
        return match_candidates(
            description,
            candidates,
            preference=preference(colours) if preference else None,
            **self.settings.match.arguments,
        )

    def _candidates(self) -> list[Candidate]:
        pairs = zip(self.described, self.images.appearances, strict=True)
        return [
            Candidate(described.description, image.mask, image.weight)
            for described, image in pairs
            if described.description is not None
        ]

    def start_maps(self, frame: Tensor, match: Correspondence | None) -> Tensor | None:
        """Compute the maps of the warm start of a frame (`vitsplice.engine.warm_start`); None without a warm start."""
        if self.model is not None or match is None:
            return None
        return warm_start_maps(frame, self.images.appearances, match, warm_start_strengths(self.settings)[0])

    @numerics(grad=False)
    def start(self, frame: Tensor, match: Correspondence | None, maps: Tensor | None = None) -> Tensor:
        """Compute the output of a frame before any step, ``(1, 3, H, W)``.

        Args:
            frame: ``(1, 3, H, W)``, on the device.
            match: correspondence of the frame; None if it was not matched.
            maps: maps of the warm start of the frame; None if the preset has no warm start.
        """
        if maps is not None and match is not None:
            return warm_start_from_maps(frame, maps, match, *warm_start_strengths(self.settings))
        if self.model is None:
            return frame
        images = self._images(frame)
        mask = images.masks.get("appearance")
        structure, (appearance,) = DescribedImage(frame, None), self.described
        names, info = self.model.spec.conditions, self.backbone.info
        needed = match if needs_match(names) else None  # otherwise only loss terms use the match
        pair = pair_condition(names, structure, appearance, info, self.settings.match, mask, needed)
        output = self.model.generate(frame, pair.values)
        return torch.lerp(frame, output, min(1.0, self.settings.appearance_strength))

    def optimised(self, frame: Tensor, match: Correspondence | None, start: Tensor) -> Tensor:
        """Take the steps of the preset from a start, and return the output ``(1, 3, H, W)``."""
        images = self._images(frame)
        components = Components.build(self.settings, self.backbones, catalogue(), self.model)
        memory.check(memory.Estimate(components), images, memory.free_bytes(self.device))
        with numerics(), memory.out_of_memory_advice():
            prepared = start_with(self.settings, images, start, match, components.guided)
            optimisation = StagedOptimisation(components, images, prepared)
            for _ in optimisation.steps():
                pass
            return optimisation.image().detach()

    def _images(self, frame: Tensor) -> RunImages:
        return replace(self.images, pixels={**self.images.pixels, "structure": frame})


@numerics()
def load_transfer(appearances: Appearances, settings: RunConfig, backbones: BackboneLoader) -> FrameTransfer:
    """Load what a preset needs, and describe the appearance images.

    Args:
        appearances: the appearance images.
        settings: settings of a run.
        backbones: loader of the backbones.

    Raises:
        UserError: if the preset starts from the unchanged frame, or is a model and there are several appearance images.
        VitspliceError: if a setting or a backbone cannot be used.
    """
    known, settings = catalogue(), pinned(settings)
    check_run(settings, known)
    _check_preset(settings, len(appearances.images))
    loaded = load_settings(settings, backbones, known)
    settings, device = loaded.settings, loaded.device
    _check_preset(settings, len(appearances.images))  # a fallback of the backbone may have other settings

    images = appearances.on_device(device, settings.size, settings.mask)
    backbone, pixels = next(iter(loaded.backbones.values())), [image.pixels for image in images.appearances]
    model = model_of(settings.model, backbone, device) if settings.model else None
    if model is None:
        uses_match = True
        descriptions = [describe_for_match(each, loaded.backbones, settings, mirror=True) for each in pixels]
        described = tuple(map(DescribedImage, pixels, descriptions))
    else:
        guided = Components.build(settings, loaded.backbones, known, model).guided
        names, grid = model.spec.conditions, settings.match.grid
        uses_match = guided or needs_match(names)
        described = (described_image(pixels[0], backbone, names, grid, appearance=True, mirror=uses_match),)
    return FrameTransfer(settings, device, loaded.backbones, images, described, uses_match, model, loaded.substitutions)


def _check_preset(settings: RunConfig, appearance_count: int) -> None:
    """Raise UserError if settings cannot be used for videos with this number of appearance images."""
    if settings.start == "structure":
        raise UserError(
            "videos require a preset with a warm start or a model, not one with start: structure; give instant, quick, "
            "best, a YAML file with start: match, or a model folder"
        )
    if settings.model and appearance_count > 1:
        raise UserError(
            f"a trained model takes one appearance image, not {appearance_count}; use another preset, such as instant"
        )
