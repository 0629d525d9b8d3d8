"""The packaged example images."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from vitsplice.errors import UnknownName
from vitsplice.text import printable

EXAMPLE_PAIRS = {"apple-orange": ("apple.jpg", "orange.jpg"), "cat-dog": ("cat.jpg", "dog.jpg")}
"""The packaged pairs: name to (structure, appearance); the first is the default."""


def example(name: str = next(iter(EXAMPLE_PAIRS))) -> tuple[Path, Path]:
    """The files of a packaged pair: (structure, appearance).

    Raises:
        UnknownName: there is no such pair.
    """
    if name not in EXAMPLE_PAIRS:
        raise UnknownName(f"no example pair '{printable(name)}'; there are {', '.join(EXAMPLE_PAIRS)}")
    folder = Path(str(resources.files("vitsplice") / "example_images"))
    structure, appearance = EXAMPLE_PAIRS[name]
    return folder / structure, folder / appearance
