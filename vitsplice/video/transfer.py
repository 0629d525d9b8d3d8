"""What is computed for a frame: its correspondence with the appearance image, and its output by the preset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone, ImageName
from vitsplice.engine import memory
from vitsplice.engine.backbones import BackboneLoader, Substitution, load_settings
from vitsplice.engine.conditions import DescribedImage, described_image, needs_match, pair_condition
from vitsplice.engine.images import RunImages, masked, read_masks
from vitsplice.engine.problem import Components, check_run
from vitsplice.engine.stages import StagedOptimisation
from vitsplice.engine.start import started, warm_start_of
from vitsplice.errors import UserError
from vitsplice.images import LoadedImage, Source, read, resize_to
from vitsplice.matching import Candidate, Correspondence, Preference, describe_image, match_candidates
from vitsplice.models.loading import model_of
from vitsplice.models.model import Model
from vitsplice.numerics import numerics
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import pinned


@dataclass(frozen=True)
class FrameTransfer:
    """The transfer of one appearance image to frames, with everything loaded.

    Args:
        settings: settings of a run, with device, precision and backbones in use.
        device: device of the computations.
        backbones: backbones by their keys in the settings; the first matches images.
        appearance: the appearance image and its mask, on the device.
        image: the appearance image as it was read.
        described: what matching, and the conditions of a model, need of the appearance image.
        model: trained model; None for other presets.
        substitutions: backbones that a fallback replaces, by key.
    """

    settings: RunConfig
    device: torch.device
    backbones: dict[str, Backbone]
    appearance: RunImages
    image: LoadedImage
    described: DescribedImage = field(repr=False)
    model: Model | None = None
    substitutions: dict[str, Substitution] = field(default_factory=dict)

    @property
    def backbone(self) -> Backbone:
        """The backbone that matches images."""
        return next(iter(self.backbones.values()))

    @property
    def matches(self) -> bool:
        """Whether outputs depend on a correspondence."""
        return self.model is None or needs_match(self.model.spec.conditions)

    @property
    def optimises(self) -> bool:
        """Whether the preset takes steps."""
        return self.settings.steps > 0

    def prepared(self, pixels: Tensor) -> Tensor:
        """Move a frame ``(1, 3, H, W)`` to the device."""
        return pixels.to(self.device)

    @numerics(grad=False)
    def match(self, frame: Tensor, preference: Callable[[], Preference] | None = None) -> Correspondence | None:
        """Match a frame with the appearance image; None if outputs do not depend on it.

        Args:
            frame: ``(1, 3, H, W)``, see `prepared`.
            preference: returns the matches that are preferred; None: none are.
        """
        if not self.matches or self.described.description is None:
            return None
        settings, mask = self.settings.match, self.appearance.masks.get("appearance")
        described = describe_image(frame, self.backbone, settings.grid, mirror=False)
        return match_candidates(
            described,
            [Candidate(self.described.description, mask)],
            preference=preference() if preference else None,
            **settings.model_dump(exclude={"grid"}),
        )

    @numerics(grad=False)
    def start(self, frame: Tensor, match: Correspondence | None) -> Tensor:
        """Compute the output of a frame before any step, ``(1, 3, H, W)``."""
        images = self._images(frame)
        if self.model is None:
            return frame if match is None else warm_start_of(self.settings, images, match)
        mask = images.masks.get("appearance")
        structure = DescribedImage(frame, None)
        names, info = self.model.spec.conditions, self.backbone.info
        pair = pair_condition(names, structure, self.described, info, self.settings.match, mask, match)
        output = self.model.generate(frame, pair.values)
        return torch.lerp(frame, output, min(1.0, self.settings.appearance_strength))

    def optimised(self, frame: Tensor, match: Correspondence | None, start: Tensor) -> Tensor:
        """Take the steps of the preset from a start, and return the output ``(1, 3, H, W)``."""
        images = self._images(frame)
        components = Components.build(self.settings, self.backbones, catalogue(), self.model)
        memory.check(memory.Estimate(components), images, memory.free_bytes(self.device))
        with numerics(), memory.out_of_memory_advice():
            begun = started(self.settings, images, start, match, components.guided)
            optimisation = StagedOptimisation(components, images, begun)
            for _ in optimisation.steps():
                pass
            return optimisation.image().detach()

    def _images(self, frame: Tensor) -> RunImages:
        return RunImages({**self.appearance.pixels, "structure": frame}, self.appearance.masks)


@numerics()
def load_transfer(
    appearance: Source,
    settings: RunConfig,
    mask: Any = None,
    backbones: BackboneLoader | None = None,
) -> FrameTransfer:
    """Load what a preset needs, and describe the appearance image.

    Args:
        appearance: the appearance image.
        settings: settings of a run.
        mask: mask of the appearance image; None: all of it is used.
        backbones: loader of the backbones; None: a new `BackboneLoader`.

    Raises:
        UserError: if the preset starts from the unchanged frame and takes no steps, or an image cannot be read.
        VitspliceError: if a setting or the backbone cannot be used.
    """
    known, settings = catalogue(), pinned(settings)
    check_run(settings, known)
    image = read(appearance)
    masks = read_masks({"appearance": image}, {"appearance": mask})
    loaded = load_settings(settings, backbones or BackboneLoader(), known)
    settings, device = loaded.settings, loaded.device
    if settings.start == "structure":
        raise UserError(
            "videos require a preset with a warm start or a model: instant, quick, best, a YAML file with "
            "start: match, or a model folder"
        )

    def resized(each: LoadedImage) -> Tensor:
        return (resize_to(each.pixels, settings.size) if settings.size else each.pixels).to(device)

    named: dict[ImageName, Tensor] = {"appearance": resized(image)}
    regions: dict[ImageName, Tensor] = {}
    if masks:
        regions["appearance"] = resized(masks["appearance"]).mean(1, keepdim=True)
    images = masked(RunImages(named, regions), settings.mask)
    backbone = next(iter(loaded.backbones.values()))
    model = model_of(settings.model, backbone, device) if settings.model else None
    pixels, grid = images.pixels["appearance"], settings.match.grid
    described = (
        described_image(pixels, backbone, model.spec.conditions, grid, appearance=True)
        if model
        else DescribedImage(pixels, describe_image(pixels, backbone, grid, mirror=True))
    )
    return FrameTransfer(settings, device, loaded.backbones, images, image, described, model, loaded.substitutions)
