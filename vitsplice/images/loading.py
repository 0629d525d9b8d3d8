"""An image, read from whatever a caller has: a path, a PIL image, an array, a tensor."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vitsplice.errors import ImageError
from vitsplice.images.decode import decode
from vitsplice.images.formats import identify, open_file
from vitsplice.images.limits import check_range, check_size, is_one_rgb
from vitsplice.images.tensors import check_plain, image_batch
from vitsplice.images.values import Flatten, flatten, mask_values, to_pixels, unit_values
from vitsplice.text import printable

_ACCEPTED = "a path, a PIL image, a numpy array (H, W) or (H, W, 1|3|4), or a torch tensor (3, H, W) or (1, 3, H, W)"

BLACK = 0.05
"""A mask that is nowhere lighter than this lets nothing through."""


_FILTERS = threading.Lock()
"""Held while warnings are ignored: their filters belong to the process, and threads would restore each other's."""


@dataclass(frozen=True)
class LoadedImage:
    """An image that was read.

    Args:
        pixels: ``(1, 3, H, W)``, float32 in [0, 1], on the CPU, memory of its own.
        notes: what was done to it that the user should know.
        sha256: of the bytes of the file; without a file, of the bytes of ``pixels``.
        name: the path as given (or "PIL image", "array", "tensor"), safe to print.
    """

    pixels: Tensor = field(compare=False, repr=False)
    notes: tuple[str, ...]
    sha256: str
    name: str


Source = str | os.PathLike[Any] | Image.Image | NDArray[Any] | Tensor | LoadedImage


def read(source: Source) -> LoadedImage:
    """Read an image; one that was read already is given back.

    Args:
        source: a path of a PNG, JPEG, WebP, TIFF or BMP file; a PIL image; a numpy array
            ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``, uint8, uint16 or float in
            [0, 1]; or a torch tensor ``(3, H, W)`` or ``(1, 3, H, W)``, uint8 or float in [0, 1].

    Raises:
        ImageError: it cannot be read, is too small or too large, or has values outside of
            [0, 1]. The message is one line and names the file.
    """
    return _read(source, flatten)


def read_mask(source: Source) -> LoadedImage:
    """Read a mask, which may be anything that `read` takes, or truth values, or a tensor of one channel.

    Light is inside and grey partly so. An alpha channel that is not the same everywhere is the mask, whatever the
    colours are: a cut-out on a transparent ground is its own mask. Raises as `read` does.
    """
    return _read(_as_image(source), mask_values)


def _as_image(mask: Any) -> Any:
    """A mask of truth values, or a tensor ``(H, W)``, ``(1, H, W)`` or ``(1, 1, H, W)``, as `read` takes it."""
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        return mask.astype(np.uint8) * 255
    if not isinstance(mask, Tensor):
        return mask
    values = mask.float() if mask.dtype == torch.bool else mask
    if values.ndim in (2, 3, 4) and values.shape[:-2].numel() == 1:
        return values.reshape(1, *values.shape[-2:]).expand(3, -1, -1)
    return values


def is_black(mask: Tensor) -> bool:
    """Whether a mask ``(1, 3, H, W)`` lets nothing through; JPEG leaves a little where it was black."""
    return not bool((mask > BLACK).any())


def _read(source: Source, flat: Flatten) -> LoadedImage:
    if isinstance(source, LoadedImage):
        return source
    if isinstance(source, Image.Image):
        return _read_pil(source, flat)
    if isinstance(source, np.ndarray):
        return _read_array(source, flat)
    if isinstance(source, Tensor):
        return _read_tensor(source)
    if isinstance(source, str | os.PathLike):
        return _read_path(os.fsdecode(source), flat)
    raise ImageError(f"an image must be {_ACCEPTED}; this is a {type(source).__name__}")


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Ignore warnings, one thread at a time."""
    with _FILTERS, warnings.catch_warnings(action="ignore"):
        yield


def _read_path(path: str, flat: Flatten) -> LoadedImage:
    """Pillow's warnings (a large image, odd EXIF) are kept from the user, here and below; we check sizes."""
    name = printable(path)
    with open_file(path, name) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        with _without_warnings(), identify(file, name) as image:
            pixels, notes = decode(image, name, flat)
    return LoadedImage(pixels, notes, sha256, name)


def _read_pil(image: Image.Image, flat: Flatten) -> LoadedImage:
    name = printable(str(getattr(image, "filename", ""))) or "PIL image"
    with _without_warnings():
        pixels, notes = decode(image, name, flat)
    return _unfiled(pixels, notes, name)


def _read_array(array: NDArray[Any], flat: Flatten) -> LoadedImage:
    name = "array"
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ImageError("an array must have no masked values; array.filled(value) gives them one")
    array = np.asarray(array)  # subclasses such as np.matrix keep two dimensions whatever is done to them
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"an array must be (H, W) or (H, W, 1|3|4); this one is {array.shape}")
    check_size(name, array.shape[1], array.shape[0])
    values = unit_values(np.atleast_3d(array))
    check_range(name, values)
    notes: list[str] = []
    pixels = to_pixels(flat(values, notes, False))
    return _unfiled(pixels, tuple(notes), name)


def _read_tensor(tensor: Tensor) -> LoadedImage:
    name = "tensor"
    check_plain(tensor, name)
    if not is_one_rgb(tensor):
        raise ImageError(f"a tensor must be (3, H, W) or (1, 3, H, W); this one is {tuple(tensor.shape)}")
    pixels = image_batch(tensor.detach(), name)
    return _unfiled(pixels.to("cpu", copy=True, memory_format=torch.contiguous_format), (), name)


def _unfiled(pixels: Tensor, notes: tuple[str, ...], name: str) -> LoadedImage:
    """An image without a file, told apart by its pixels."""
    return LoadedImage(pixels, notes, hashlib.sha256(pixels.numpy().reshape(-1).data).hexdigest(), name)
