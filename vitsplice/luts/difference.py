"""Colour difference of two images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vitsplice.images.transforms import LAB_SCALE, to_lab


@dataclass(frozen=True)
class ColourDifference:
    """CIE 1976 colour difference (delta E) over the pixels of two images.

    Args:
        mean: mean; about 2.3 is just noticeable.
        percentile_95: 95th percentile.
    """

    mean: float
    percentile_95: float

    def __str__(self) -> str:
        return f"delta E mean {self.mean:.2f}, 95th percentile {self.percentile_95:.2f}"


def colour_difference(first: Tensor, second: Tensor, mask: Tensor | None = None) -> ColourDifference:
    r"""Compute the CIE 1976 colour difference :math:`\Delta E^*_{ab}`, the Euclidean distance in CIE Lab.

    Args:
        first, second: ``(3, H, W)`` each, in [0, 1].
        mask: ``(1, H, W)``; only pixels where it is at least 0.5 count. None: all pixels.
    """
    distances = (to_lab(first[None]) - to_lab(second[None])).norm(dim=1).mul(LAB_SCALE)
    if mask is not None:
        distances = distances[mask >= 0.5]
    values = distances.flatten().sort().values
    return ColourDifference(float(values.mean()), float(values[min(len(values) - 1, int(0.95 * len(values)))]))
