"""A LUT that was fitted to a structure image and an output, with its error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitsplice.images.checks import single_image
from vitsplice.images.transforms import LAB_SCALE, to_lab
from vitsplice.luts.fitting import SMOOTHNESS
from vitsplice.luts.lut import SIZE, Lut, check_sizes, included


@dataclass(frozen=True)
class ColourDifference:
    """CIE 1976 colour difference (delta E) over the pixels of two images.

    Args:
        mean: mean over the pixels; about 2.3 is just noticeable.
        percentile_95: 95th percentile.
    """

    mean: float
    percentile_95: float

    def __str__(self) -> str:
        return f"delta E mean {self.mean:.2f}, 95th percentile {self.percentile_95:.2f}"


@torch.no_grad()
def colour_difference(first: Tensor, second: Tensor, mask: Tensor | None = None) -> ColourDifference:
    r"""Compute the CIE 1976 colour difference :math:`\Delta E^*_{ab}`, the Euclidean distance in CIE Lab.

    Args:
        first, second: images of equal size, as for `Lut.fit`.
        mask: ``(H, W)`` or ``(1, H, W)``; only pixels where it is at least 0.5 count. None: all pixels.

    Raises:
        UserError: if an image is not allowed, the sizes of images and mask differ, or the mask has several channels or
            excludes every pixel.
    """
    first, second = single_image(first, "first"), single_image(second, "second")
    check_sizes(first, second, mask)
    distances = (to_lab(first) - to_lab(second)).norm(dim=1).mul(LAB_SCALE)
    if mask is not None:
        distances = distances[included(mask).reshape(distances.shape)]
    return ColourDifference(float(distances.mean()), float(np.percentile(distances.cpu().numpy(), 95)))


@dataclass(frozen=True)
class FittedLut:
    """A LUT and its error.

    Args:
        lut: LUT that was fitted to a structure image and an output.
        error: difference between the structure image after the LUT and the output.
        unchanged: difference between the structure image and the output.
    """

    lut: Lut
    error: ColourDifference
    unchanged: ColourDifference

    def record(self) -> dict[str, Any]:
        """Return size and errors as plain data."""
        return {"size": self.lut.size, "delta_e": asdict(self.error), "delta_e_unchanged": asdict(self.unchanged)}

    def __str__(self) -> str:
        return f"{self.error}; without the LUT: {self.unchanged}"


@torch.no_grad()
def fit_lut(
    structure: Tensor,
    output: Tensor,
    mask: Tensor | None = None,
    *,
    size: int = SIZE,
    smoothness: float = SMOOTHNESS,
) -> FittedLut:
    """Fit a LUT to a structure image and an output, and measure its error; arguments as for `Lut.fit`."""
    lut = Lut.fit(structure, output, mask=mask, size=size, smoothness=smoothness)
    error = colour_difference(lut.apply(structure), output, mask)
    return FittedLut(lut, error, colour_difference(structure, output, mask))
