"""The inputs of a run, read and checked together: images, masks, weights and regions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vitsplice.engine.images import read_masks
from vitsplice.images import LoadedImage, read
from vitsplice.runs.inputs import Region, appearances_of, checked_weights, described, named_inputs
from vitsplice.runs.regions import ReadRegion, read_regions


@dataclass(frozen=True)
class RunInputs:
    """Inputs of a run.

    Args:
        images: structure image and appearance images by name (`vitsplice.runs.inputs`).
        masks: masks of images by the name of the image.
        weights: weight of each appearance image.
        regions: regions in order.
    """

    images: dict[str, LoadedImage]
    masks: dict[str, LoadedImage]
    weights: tuple[float, ...]
    regions: list[ReadRegion]

    @classmethod
    def read(
        cls,
        structure: Any,
        appearance: Any,
        *,
        structure_mask: Any = None,
        appearance_mask: Any = None,
        appearance_weights: Sequence[float] | None = None,
        regions: Sequence[Region] | Region | None = (),
    ) -> RunInputs:
        """Read the arguments of `vitsplice.splice`.

        Raises:
            ImageError: if an image or a mask cannot be read.
            UserError: if a mask, a weight or a region is invalid or does not fit the images.
        """
        named = named_inputs(structure, appearance, structure_mask, appearance_mask)
        names = appearances_of(named)
        weights = checked_weights(appearance_weights, len(names))
        images = {name: read(named[name], described(name)) for name in ("structure", *names)}
        masks = read_masks(images, {name: named.get(f"{name}_mask") for name in images})
        listed = list(regions or ()) if regions is None or isinstance(regions, Iterable) else [regions]
        return cls(images, masks, weights, read_regions(listed, images))

    @property
    def appearances(self) -> list[str]:
        """Names of the appearance images, in order."""
        return appearances_of(self.images)
