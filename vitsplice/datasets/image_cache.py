"""Values that are computed from each image once and stored in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vitsplice.errors import ImageError
from vitsplice.images import image_stamp
from vitsplice.support.jsonl import JsonLinesLog, key_of
from vitsplice.support.output_folder import FolderLock
from vitsplice.support.progress import ProgressReporter

ValueT = TypeVar("ValueT")

WAIT = 60.0
"""Seconds to wait for another process that uses the cache; processes that train together take turns."""


def cached_by_image(
    images: Sequence[Path],
    key: tuple[object, ...],
    compute: Callable[[Path], ValueT],
    encode: Callable[[ValueT], Mapping[str, Any]],
    decode: Callable[[Mapping[str, Any]], ValueT | None],
    cache: Path,
    progress: ProgressReporter,
) -> tuple[dict[Path, ValueT], list[ImageError]] | None:
    """Read the value of each image from a cache, or compute it, one image at a time.

    Args:
        images: paths of the images.
        key: what a value depends on besides its image.
        compute: function of a path that may raise ImageError.
        encode: function that converts a value to a record.
        decode: function that converts a record to a value, or returns None if the record is invalid.
        cache: file of records (`vitsplice.support.jsonl`), which is read and extended.
        progress: reports each image.

    Returns:
        The values by path and the errors of unreadable images; None if the progress reporter stopped the work.

    Raises:
        VitspliceError: if the cache cannot be read or written.
        OutputBusy: if another process uses the cache for longer than `WAIT`.
    """
    values: dict[Path, ValueT] = {}
    errors = []
    with FolderLock(cache.parent, f".{cache.name}.lock", WAIT), JsonLinesLog(cache) as log:
        for number, path in enumerate(images):
            if progress.stopped():
                return None
            progress.part(path.name, number, len(images))
            try:
                of_image = key_of(*key, *image_stamp(path))
                value = decode(log[of_image]) if of_image in log else None
                if value is None:
                    value = compute(path)
                    log.add(of_image, encode(value))
                values[path] = value
            except ImageError as error:
                errors.append(error)
    return values, errors
