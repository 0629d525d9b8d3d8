"""Images as they are shown in a study: small, without metadata, as text."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vitsplice.errors import Argument, UserError
from vitsplice.images import read, to_pil

QUALITY = 95
"""Of the JPEG; colour is not subsampled. Whatever the files were, all are shown alike."""

LARGEST_PAGE = 300_000_000
"""Characters of images in a page; browsers give up at about 500 million."""


@dataclass(frozen=True)
class Shown:
    """An image of the page.

    Args:
        name: of the image in the page, from its content: it tells nothing of where it comes from.
        uri: the image, ``data:image/jpeg;base64,...``.
        sha256: of the file.
        ratio: width over height of the file's image.
    """

    name: str
    uri: str
    sha256: str
    ratio: float


class Album:
    """The images of a page, each once.

    Args:
        size: longer side in pixels, at most; a smaller image is not enlarged.
        told: is called after each that was read, with how many there are by then.
    """

    def __init__(self, size: int, told: Callable[[int], object]) -> None:
        self._size, self._told = size, told
        self._shown: dict[tuple[Path, bool], Shown] = {}
        self._characters = 0

    def __call__(self, path: Path, *, upside_down: bool = False) -> Shown:
        """An image, read when it is asked for the first time.

        Raises:
            ImageError: if it cannot be read.
            UserError: if the page becomes too large for a browser.
        """
        key = (path, upside_down)
        if key not in self._shown:
            self._shown[key] = _show(path, self._size, upside_down)
            self._characters += len(self._shown[key].uri)
            if self._characters > LARGEST_PAGE:
                raise UserError(
                    f"the page would hold more than {LARGEST_PAGE // 10**6} MB of images; give fewer pairs or "
                    "methods, or a smaller ",
                    Argument("size"),
                    f" than {self._size}",
                )
            self._told(len(self._shown))
        return self._shown[key]

    def uris(self) -> dict[str, str]:
        """All of them by name, in the order of their names."""
        return dict(sorted((shown.name, shown.uri) for shown in self._shown.values()))


def _show(path: Path, size: int, upside_down: bool) -> Shown:
    loaded = read(path)
    image = to_pil(loaded.pixels)
    ratio = image.width / image.height
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    if upside_down:
        image = image.transpose(Image.Transpose.ROTATE_180)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=QUALITY, subsampling=0)
    name = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
    return Shown(name, f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", loaded.sha256, ratio)
