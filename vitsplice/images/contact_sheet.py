"""Images in rows with a word below each, as one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vitsplice.images import from_pil, to_pil
from vitsplice.text import printable

GAP, LINE = 6, 18


def sheet(rows: Sequence[Sequence[tuple[str, Tensor]]], height: int = 180) -> Tensor:
    """Rows of (caption, image ``(3, H, W)``), brought to one height, as ``(3, H', W')``."""
    font = ImageFont.load_default(12)
    drawn = [[_Cell(printable(caption), _sized(image, height), font) for caption, image in row] for row in rows]
    width = max(sum(cell.width + GAP for cell in row) for row in drawn)
    whole = Image.new("RGB", (width, len(drawn) * (height + LINE + GAP)), "white")
    pen = ImageDraw.Draw(whole)
    for number, row in enumerate(drawn):
        left, top = 0, number * (height + LINE + GAP)
        for cell in row:
            whole.paste(cell.image, (left, top))
            pen.text((left + 2, top + height + 1), cell.caption, fill="black", font=font)
            left += cell.width + GAP
    return from_pil(whole)


@dataclass(frozen=True)
class _Cell:
    caption: str
    image: Image.Image
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont

    @property
    def width(self) -> int:
        return max(self.image.width, ceil(self.font.getlength(self.caption)) + 2)


def _sized(image: Tensor, height: int) -> Image.Image:
    made = to_pil(image)
    return made.resize((max(1, round(made.width * height / made.height)), height), Image.Resampling.LANCZOS)
