"""A trained model: one generator that transfers appearances without any optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitsplice.config import MatchConfig
from vitsplice.contracts import Backbone, Condition, ConditionalGeneratorSpec, ImageName
from vitsplice.engine.conditions import (
    DescribedImage,
    PairCondition,
    crop_condition,
    described_image,
    in_batches,
    pair_condition,
)
from vitsplice.engine.images import RunImages, masked, read_masks
from vitsplice.engine.memory import MODEL_SIDE
from vitsplice.engine.views import View, entire
from vitsplice.errors import UserError
from vitsplice.images import Source, read
from vitsplice.matching import Correspondence
from vitsplice.models.mixing import Appearance, Mix, mixed
from vitsplice.models.tiling import BLEND, in_tiles
from vitsplice.numerics import numerics
from vitsplice.presets.model_folder import ModelRecord

ALIGNMENT = 96
"""Tiles begin at multiples of this number of pixels, so that the cells of a network's grid are the same in a tile as in
the entire image. It is a multiple of `vitsplice.engine.conditions.WARPED_STRIDE` and of 32, the largest ``multiple`` of
the networks of this package with their default channels."""

MARGIN = 160
"""Margin of tiles in pixels for a generator that does not state the reach of its outputs."""

MIN_TILE = BLEND + ALIGNMENT
"""Minimum of the height and width of tiles in pixels; smaller ones would overlap by less than `BLEND`."""

StructureImage = Source | DescribedImage
AppearanceImage = Source | Appearance | Mix


@dataclass(frozen=True)
class Model:
    """A trained model on a device, created by `vitsplice.load_model`.

    Args:
        record: what the model is, and what it was trained on.
        spec: the conditional generator.
        generator: the generator with the trained weights, in eval mode.
        backbone: backbone that describes and matches images.
        device: device of generator and backbone.
        images: SHA-256 of the files of the training images.
        tile: maximum height and width of a tile in pixels, at least `MIN_TILE`; larger images are computed in tiles.

    Raises:
        UserError: if ``tile`` is too small.
    """

    record: ModelRecord
    spec: ConditionalGeneratorSpec
    generator: nn.Module
    backbone: Backbone
    device: torch.device
    images: frozenset[str] = frozenset()
    tile: int = MODEL_SIDE

    def __post_init__(self) -> None:
        if self.tile < MIN_TILE:
            raise UserError(f"tile={self.tile} is not allowed; it must be at least {MIN_TILE}")

    def __repr__(self) -> str:
        record = self.record
        return f"Model({record.generator.name}, {record.steps} steps, backbone '{record.backbone.name}', {self.device})"

    @numerics(grad=False)
    def prepare(self, image: Source, *, mask: Source | None = None) -> Appearance:
        """Describe an appearance image, once for all structure images.

        Args:
            image: a path, a PIL image, an array ``(H, W, 3)`` or a tensor ``(3, H, W)`` (`vitsplice.images.read`).
            mask: white where ``image`` is used; of the same size as ``image``, and any of its types.

        Raises:
            UserError: if the image or the mask cannot be read, their sizes differ, or the mask is black everywhere.
        """
        loaded = read(image)
        masks = read_masks({"appearance": loaded}, {"appearance": mask})
        inside: dict[ImageName, Tensor] = {}
        if masks:
            inside["appearance"] = masks["appearance"].pixels.mean(1, keepdim=True)
        images = masked(RunImages({"appearance": loaded.pixels}, inside), self.record.settings.mask)
        pixels, region = images.pixels["appearance"].to(self.device), images.masks.get("appearance")
        described = self._described(pixels, self.record.settings.match, appearance=True)
        return Appearance(described, None if region is None else region.to(self.device))

    @numerics(grad=False)
    def prepare_structure(self, image: Source) -> DescribedImage:
        """Describe a structure image, once for all appearance images.

        Raises UserError if the image cannot be read.
        """
        pixels = read(image).pixels.to(self.device)
        return self._described(pixels, self.record.settings.match, appearance=False)

    def __call__(self, structure: StructureImage, appearance: AppearanceImage) -> Tensor:
        """Transfer the appearance of an image, or of a mix of images, to the structure of another.

        Args:
            structure: an image (see `prepare`), or the result of `prepare_structure`.
            appearance: an image, the result of `prepare`, or a `Mix`.

        Returns:
            ``(1, 3, H, W)`` in [0, 1], on the device of the model, as large as the structure image.

        Raises:
            UserError: if an image cannot be read.
        """
        return self.batch([structure], [appearance])[0]

    @numerics(grad=False)
    def batch(self, structures: Sequence[StructureImage], appearances: Sequence[AppearanceImage]) -> list[Tensor]:
        """Compute the outputs of several pairs. Structure images of one size share a pass of the generator.

        Args:
            structures, appearances: images of each pair, as for a call of the model.

        Returns:
            The output of each pair, ``(1, 3, H, W)``.

        Raises:
            UserError: if the numbers of images differ, or an image cannot be read.
        """
        if len(structures) != len(appearances):
            raise UserError(
                f"{len(structures)} structure images require as many appearance images, not {len(appearances)}"
            )
        described = [s if isinstance(s, DescribedImage) else self.prepare_structure(s) for s in structures]
        pairs = [(s.pixels, self.condition(s, a).values) for s, a in zip(described, appearances, strict=True)]
        return in_batches(self.generate, pairs)

    @numerics(grad=False)
    def start(
        self, structure: Tensor, appearance: Tensor, match: MatchConfig, mask: Tensor | None = None
    ) -> tuple[Tensor, Correspondence | None]:
        """Compute the start of a run, and the correspondence if the model needs it (`vitsplice.engine.start`).

        Args:
            structure, appearance: ``(1, 3, H, W)`` in [0, 1], on the device of the model.
            match: settings of the correspondence, in place of those of the model.
            mask: mask of the appearance image, ``(1, 1, H, W)``; None: all of it is used.
        """
        names, info = self.spec.conditions, self.backbone.info
        first = self._described(structure, match, appearance=False)
        second = self._described(appearance, match, appearance=True)
        pair = pair_condition(names, first, second, info, match, mask)
        return self.generate(structure, pair.values), pair.match

    def condition(self, structure: DescribedImage, appearance: AppearanceImage) -> PairCondition:
        """Compute the conditions of a pair; those of a `Mix` are interpolated, and have no correspondence."""
        if isinstance(appearance, Mix):
            each = [self.condition(structure, part).values for part, _ in appearance.parts]
            return PairCondition(mixed(each, [weight for _, weight in appearance.parts]), None)
        prepared = appearance if isinstance(appearance, Appearance) else self.prepare(appearance)
        names, info = self.spec.conditions, self.backbone.info
        match = self.record.settings.match
        return pair_condition(names, structure, prepared.image, info, match, prepared.mask)

    def _described(self, image: Tensor, match: MatchConfig, *, appearance: bool) -> DescribedImage:
        return described_image(image, self.backbone, self.spec.conditions, match.grid, appearance=appearance)

    @numerics(grad=False)
    def generate(self, structure: Tensor, condition: Condition) -> Tensor:
        """Apply the generator to images ``(B, 3, H, W)`` of any size, with their conditions."""
        size = (structure.shape[-2], structure.shape[-1])

        def output(view: View) -> Tensor:
            return torch.as_tensor(self.generator(view.crop(structure), crop_condition(condition, view, size)))

        if max(size) <= self.tile:
            return output(entire(structure))
        margin = min(getattr(self.generator, "reach", MARGIN), (self.tile - MIN_TILE) // 2)
        return in_tiles(output, size, self.tile, margin, ALIGNMENT)
