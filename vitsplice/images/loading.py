"""Loading an image from a path, a PIL image, an array or a tensor; the packaged example images."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vitsplice.errors import ImageError, ImageNotFound, UnknownName
from vitsplice.images.channels import AlphaHandler, alpha_as_mask, composite_on_white, to_pixels, unit_values
from vitsplice.images.checks import check_dense, check_range, check_size, image_batch, is_single_rgb
from vitsplice.images.decode import decode, open_file, read_header
from vitsplice.text import printable, type_with_article

_ACCEPTED = "a path, a PIL image, a numpy array (H, W) or (H, W, 1|3|4), or a torch tensor (3, H, W) or (1, 3, H, W)"

BLACK = 0.05
"""A mask with no value above this is empty."""

EXAMPLE_PAIRS = {"apple-orange": ("apple.jpg", "orange.jpg"), "cat-dog": ("cat.jpg", "dog.jpg")}
"""File names (structure, appearance) of the packaged pairs by name; the first pair is the default."""

_WARNINGS_LOCK = threading.Lock()
"""Held while warnings are ignored: warning filters belong to the process, so threads would restore each other's."""


@dataclass(frozen=True)
class LoadedImage:
    """An image in memory.

    Args:
        pixels: ``(1, 3, H, W)``, float32 in [0, 1], on the CPU; a copy of the source.
        notes: how the image was converted, and which of several frames was read.
        sha256: digest of the bytes of the file if the image was read from a path, otherwise of the bytes of ``pixels``.
        name: the path, also of a PIL image opened from a file, or else "PIL image", "array" or "tensor"; safe to print.
        path: absolute path of the file, symbolic links resolved, also of a PIL image opened from a file; "" if there is
            no file. A relative path is resolved against the working directory at the time of reading.
    """

    pixels: Tensor = field(compare=False, repr=False)
    notes: tuple[str, ...]
    sha256: str
    name: str
    path: str = field(default="", compare=False, repr=False)


Source = str | os.PathLike[Any] | Image.Image | NDArray[Any] | Tensor | LoadedImage


def example(name: str = next(iter(EXAMPLE_PAIRS))) -> tuple[Path, Path]:
    """Return the paths (structure, appearance) of a packaged pair of images.

    Raises:
        UnknownName: if there is no such pair.

    Example:
        >>> [path.name for path in example("cat-dog")]
        ['cat.jpg', 'dog.jpg']
    """
    if name not in EXAMPLE_PAIRS:
        raise UnknownName(f"no example pair '{printable(name)}'; available are {', '.join(EXAMPLE_PAIRS)}")
    folder = Path(str(resources.files("vitsplice") / "example_images"))
    structure, appearance = EXAMPLE_PAIRS[name]
    return folder / structure, folder / appearance


def read(source: Source, role: str = "") -> LoadedImage:
    """Read an image.

    Args:
        source: path of a PNG, JPEG, WebP, TIFF or BMP file; PIL image; numpy array ``(H, W)``, ``(H, W, 1)``,
            ``(H, W, 3)`` or ``(H, W, 4)``, uint8, uint16 or floating point in [0, 1]; torch tensor ``(3, H, W)`` or
            ``(1, 3, H, W)``, uint8 or floating point in [0, 1]. A `LoadedImage` is returned unchanged.
        role: what the image is used as, such as "structure image", for messages about an image without a file.

    Raises:
        ImageError: if the image cannot be read, its type, shape or size is not allowed, or it has values outside
            [0, 1]. The message is one line and names the file, or else the role.

    Example:
        >>> read(example()[0]).pixels.shape
        torch.Size([1, 3, 512, 512])
    """
    return _read(source, role, composite_on_white)


def read_mask(source: Source, role: str = "") -> LoadedImage:
    """Read a mask: white is inside, black outside, grey partly inside.

    An alpha channel that varies or is 0 everywhere is the mask itself, whatever the colours are, so that a cut-out on a
    transparent background serves as its own mask.

    Args:
        source: as for `read`; arrays and tensors may be boolean, and a tensor may have one channel: ``(H, W)``,
            ``(1, H, W)`` or ``(1, 1, H, W)``.
        role: as for `read`.

    Raises:
        ImageError: as `read`.
    """
    return _read(source, role, alpha_as_mask, prepare=_mask_as_image)


def _mask_as_image(mask: Any) -> Any:
    """Convert a boolean or single-channel mask to a source that `read` accepts; others are returned unchanged."""
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        return mask.astype(np.uint8) * 255
    if not isinstance(mask, Tensor):
        return mask
    check_dense(mask, "tensor")
    values = mask.float() if mask.dtype == torch.bool else mask
    if values.ndim in (2, 3, 4) and values.shape[:-2].numel() == 1:
        return values.reshape(1, *values.shape[-2:]).expand(3, -1, -1)
    return values


def is_black(mask: Tensor) -> bool:
    """Return True if a mask ``(1, 3, H, W)`` is empty, up to the artefacts that JPEG leaves in black areas."""
    return not bool((mask > BLACK).any())


def image_stamp(path: Path) -> tuple[str, int, int]:
    """Return absolute path, size and modification time of an image file, to detect a change of the file.

    Raises:
        ImageNotFound: if the file does not exist.
        ImageError: if the size and the time cannot be read; the file is not opened.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageNotFound(f"'{printable(str(path))}' does not exist") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"'{printable(str(path))}' cannot be read: {getattr(error, 'strerror', error)}") from error
    return os.path.abspath(path), status.st_size, status.st_mtime_ns


@torch.inference_mode(False)
def _read(
    source: Source, role: str, handle_alpha: AlphaHandler, prepare: Callable[[Any], Any] | None = None
) -> LoadedImage:
    if isinstance(source, LoadedImage):
        return source
    if isinstance(source, str | os.PathLike):
        return _read_path(os.fsdecode(source), handle_alpha)
    try:
        return _read_object(prepare(source) if prepare else source, handle_alpha)
    except ImageError as error:
        if not role:
            raise
        raise ImageError(f"{role}: ", *error.parts) from error


def _read_object(source: Source, handle_alpha: AlphaHandler) -> LoadedImage:
    if isinstance(source, Image.Image):
        return _read_pil(source, handle_alpha)
    if isinstance(source, np.ndarray):
        return _read_array(source, handle_alpha)
    if isinstance(source, Tensor):
        return _read_tensor(source)
    raise ImageError(f"an image must be {_ACCEPTED}; this is {type_with_article(source)}")


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings (large images, invalid EXIF), in one thread at a time. `decode` checks sizes itself."""
    with _WARNINGS_LOCK, warnings.catch_warnings(action="ignore"):
        yield


def _read_path(path: str, handle_alpha: AlphaHandler) -> LoadedImage:
    name = printable(path)
    with open_file(path, name) as file:
        with _without_warnings(), read_header(file, name) as image:
            pixels, notes = decode(image, name, handle_alpha)
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return LoadedImage(pixels, notes, sha256, name, os.path.realpath(path))


def _read_pil(image: Image.Image, handle_alpha: AlphaHandler) -> LoadedImage:
    path = os.fsdecode(getattr(image, "filename", ""))
    name = printable(path) or "PIL image"
    with _without_warnings():
        pixels, notes = decode(image, name, handle_alpha)
    return replace(_loaded_from_memory(pixels, notes, name), path=path and os.path.realpath(path))


def _read_array(array: NDArray[Any], handle_alpha: AlphaHandler) -> LoadedImage:
    name = "array"
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ImageError("an array must have no masked values; array.filled(value) replaces them")
    array = np.asarray(array)  # no subclass: np.matrix, for example, is always two-dimensional
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"an array must be (H, W) or (H, W, 1|3|4); this one is {array.shape}; (3, H, W) is allowed as a tensor"
        )
    check_size(name, array.shape[1], array.shape[0])
    values = unit_values(np.atleast_3d(array))
    check_range(name, values)
    notes: list[str] = []
    pixels = to_pixels(handle_alpha(values, notes, False))
    return _loaded_from_memory(pixels, tuple(notes), name)


def _read_tensor(tensor: Tensor) -> LoadedImage:
    name = "tensor"
    check_dense(tensor, name)
    if not is_single_rgb(tensor):
        raise ImageError(f"a tensor must be (3, H, W) or (1, 3, H, W); this one is {tuple(tensor.shape)}")
    pixels = image_batch(tensor.detach(), name)
    return _loaded_from_memory(pixels.to("cpu", copy=True, memory_format=torch.contiguous_format), (), name)


def _loaded_from_memory(pixels: Tensor, notes: tuple[str, ...], name: str) -> LoadedImage:
    return LoadedImage(pixels, notes, hashlib.sha256(pixels.numpy().reshape(-1).data).hexdigest(), name)
