"""Pictures in rows with a word below each, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vitsplice.images import from_pil, to_pil
from vitsplice.text import printable

GAP, LINE = 6, 18


def sheet(rows: Sequence[Sequence[tuple[str, Tensor]]], height: int = 180) -> Tensor:
    """Rows of (caption, picture ``(3, H, W)``), brought to one height, as ``(3, H', W')``."""
    drawn = [[(caption, _sized(picture, height)) for caption, picture in row] for row in rows]
    width = max(sum(picture.width + GAP for _, picture in row) for row in drawn)
    whole = Image.new("RGB", (width, len(drawn) * (height + LINE + GAP)), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(12)
    for number, row in enumerate(drawn):
        left, top = 0, number * (height + LINE + GAP)
        for caption, picture in row:
            whole.paste(picture, (left, top))
            pen.text((left + 2, top + height + 1), printable(caption), fill="black", font=font)
            left += picture.width + GAP
    return from_pil(whole)


def _sized(picture: Tensor, height: int) -> Image.Image:
    made = to_pil(picture)
    return made.resize((max(1, round(made.width * height / made.height)), height), Image.Resampling.LANCZOS)
