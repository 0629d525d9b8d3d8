"""The colour part of a transfer as a LUT, with its error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from vitsplice.luts.difference import ColourDifference, colour_difference
from vitsplice.luts.fitting import SMOOTHNESS
from vitsplice.luts.lut import SIZE, Lut


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
        return f"{self.error}; structure image without it: {self.unchanged}"


def fit_lut(
    structure: Tensor,
    output: Tensor,
    mask: Tensor | None = None,
    *,
    size: int = SIZE,
    smoothness: float = SMOOTHNESS,
) -> FittedLut:
    """Fit a LUT to a structure image and an output ``(3, H, W)``, and measure its error. See `Lut.fit`."""
    lut = Lut.fit(structure, output, mask=mask, size=size, smoothness=smoothness)
    error = colour_difference(lut.apply(structure), output, mask)
    return FittedLut(lut, error, colour_difference(structure, output, mask))
