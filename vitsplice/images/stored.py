"""What a header says of the stored values, and Pillow forgets once it has decoded them."""

from __future__ import annotations

from typing import Any, NamedTuple

from PIL import ExifTags, Image


class Stored(NamedTuple):
    """How the values are stored.

    Args:
        bits: per channel.
        key: the one colour that is transparent (PNG's tRNS), in the values that Pillow decodes to.
        inverted: 0 is white, and Pillow leaves it so.
    """

    bits: int
    key: tuple[int, ...] | None = None
    inverted: bool = False


def stored(image: Image.Image) -> Stored:
    """To be asked before the image is decoded."""
    if hasattr(image, "tag_v2"):
        return _tiff(image.tag_v2, image.mode)
    tiles = getattr(image, "tile", None)
    raw = str(tiles[0].args) if image.format == "PNG" and tiles else image.mode
    return Stored(16 if ";16" in raw else 8, _transparent_key(image, raw))


def _tiff(tags: Any, mode: str) -> Stored:
    """Pillow inverts white-is-zero (photometric 0) only for up to 8 bits."""
    wide = mode == "F" or mode.startswith("I;16")
    inverted = wide and tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    return Stored(max(tags.get(ExifTags.Base.BitsPerSample, (1,))), None, inverted)


def _transparent_key(image: Image.Image, raw: str) -> tuple[int, ...] | None:
    """The transparent colour as Pillow's decoded values have it.

    Pillow gives it as stored: below 8 bits it must be scaled up, and for 16-bit RGB cut to the
    high byte, as Pillow does with the pixels.
    """
    key = image.info.get("transparency")
    if image.mode not in ("L", "RGB", "I;16") or not isinstance(key, int | tuple):
        return None
    values = key if isinstance(key, tuple) else (key,)
    if raw.startswith("RGB;16"):
        return tuple(value >> 8 for value in values)
    scale = {"L;2": 85, "L;4": 17}.get(raw, 1)
    return tuple(value * scale for value in values)
