"""The appearance images of a video, with their masks and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vitsplice.config import MaskConfig
from vitsplice.contracts import ImageName
from vitsplice.engine.images import RunImages, masked, read_masks, stack_appearances
from vitsplice.engine.stack import AppearanceImage
from vitsplice.images import LoadedImage, read
from vitsplice.runs.inputs import appearances_of, checked_weights, described, named_inputs


@dataclass(frozen=True)
class Appearances:
    """Appearance images as they were read.

    Args:
        images: the images by name: ``appearance``, ``appearance_2`` and so on.
        masks: masks of the images that have one, by name of the image.
        weights: weight of each image.
    """

    images: dict[str, LoadedImage]
    masks: dict[str, LoadedImage] = field(default_factory=dict)
    weights: tuple[float, ...] = (1.0,)

    @classmethod
    def read(cls, appearance: Any, mask: Any = None, weights: Sequence[float] | None = None) -> Appearances:
        """Read images and masks, given like the ``appearance...`` arguments of `vitsplice.splice`.

        Raises:
            UserError: if an image or a mask cannot be read, a mask does not fit its image, or the weights or the number
                of masks are not allowed.
        """
        named = named_inputs(None, appearance, None, mask)
        names = appearances_of(named)
        images = {name: read(named[name], described(name)) for name in names}
        masks = read_masks(images, {name: named.get(f"{name}_mask") for name in names})
        return cls(images, masks, checked_weights(weights, len(names)))

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each image and mask by its description, and the weights if there are several images."""
        digests = {described(name): image.sha256 for name, image in self.images.items()}
        digests |= {described(f"{name}_mask"): mask.sha256 for name, mask in self.masks.items()}
        if len(self.images) > 1:
            digests["appearance weights"] = ", ".join(map(_exact, self.weights))
        return digests

    def on_device(self, device: torch.device, size: int | None, config: MaskConfig) -> RunImages:
        """Stack the images on a device, and replace what a mask excludes by the mean colour of the rest of its image.

        Args:
            device: the device.
            size: shorter side of the resized images in pixels; None: they are not resized.
            config: settings of masks.
        """
        grey = {name: mask.pixels.mean(1, keepdim=True) for name, mask in self.masks.items()}
        weighted = zip(self.images.items(), self.weights, strict=True)
        images = [AppearanceImage(image.pixels, grey.get(name), weight) for (name, image), weight in weighted]
        stacked = stack_appearances(images, size, device)
        masks: dict[ImageName, Tensor] = {} if stacked.mask is None else {"appearance": stacked.mask}
        return masked(RunImages({"appearance": stacked.pixels}, masks, stacked.images), config)


def _exact(weight: float) -> str:
    """Format a weight without rounding."""
    short = f"{weight:g}"
    return short if float(short) == weight else repr(weight)
