"""Values that are computed from each image once and stored in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vitsplice.errors import ImageError
from vitsplice.images import image_stamp
from vitsplice.support.folder_lock import FolderLock
from vitsplice.support.jsonl import JsonLinesLog, key_of, read_records
from vitsplice.support.progress import ProgressReporter

ValueT = TypeVar("ValueT")

WAIT = 60.0
"""Seconds to wait for another process that uses the cache. Of processes that train together, the main one fills the
cache first and the others read it; but if an image is unreadable, the cache lacks its value, and every process locks
the cache."""


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

    If the cache has the values of all images, they are read even while another process writes to it.

    Args:
        images: paths of the images.
        key: everything that a value depends on besides its image.
        compute: function of a path that may raise ImageError.
        encode: function that converts a value to a record.
        decode: function that converts a record to a value, or returns None if the record is invalid.
        cache: file of records (`vitsplice.support.jsonl`), which is read and extended.
        progress: reports each image, unless all values are cached.

    Returns:
        The values by path and the errors of unreadable images; None if the progress reporter stopped the work.

    Raises:
        VitspliceError: if the cache cannot be read or written.
        OutputBusy: if a value is missing and another process uses the cache for longer than `WAIT`.
    """
    if (stored := _stored(images, key, decode, cache)) is not None:
        return None if progress.stopped() else (stored, [])
    values: dict[Path, ValueT] = {}
    errors = []
    with FolderLock(cache.parent, lock_name(cache), WAIT), JsonLinesLog(cache) as log:
        for number, path in enumerate(images):
            if progress.stopped():
                return None
            progress.part(path.name, number, len(images))
            try:
                image_key = key_of(*key, *image_stamp(path))
                value = decode(log[image_key]) if image_key in log else None
                if value is None:
                    value = compute(path)
                    log.add(image_key, encode(value))
                values[path] = value
            except ImageError as error:
                errors.append(error)
    return values, errors


def lock_name(cache: Path) -> str:
    """Return the name of the lock file of a cache; it lies beside the cache."""
    return f".{cache.name}.lock"


def _stored(
    images: Sequence[Path], key: tuple[object, ...], decode: Callable[[Mapping[str, Any]], ValueT | None], cache: Path
) -> dict[Path, ValueT] | None:
    """Read the value of each image without the lock of the cache; None if a value is missing or an image unreadable."""
    try:
        image_keys = {path: f"{key_of(*key, *image_stamp(path)):016x}" for path in images}
    except ImageError:
        return None
    wanted = set(image_keys.values())
    records = {text: record for record in read_records(cache) if (text := str(record.get("key"))) in wanted}
    values: dict[Path, ValueT] = {}
    for path, image_key in image_keys.items():
        if image_key not in records or (value := decode(records[image_key])) is None:
            return None
        values[path] = value
    return values
