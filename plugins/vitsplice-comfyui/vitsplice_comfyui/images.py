"""Conversion between the images of ComfyUI and those of vitsplice, one by one or in batches.

An ``IMAGE`` of ComfyUI is ``(B, H, W, C)``, a ``MASK`` ``(B, H, W)``, both floating point in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from comfy import model_management
from numpy.typing import NDArray
from torch import Tensor

from vitsplice.errors import UserError

Array = NDArray[np.float32]

PLACEHOLDER = (64, 64)
"""Height and width of the black mask that ComfyUI's Load Image gives for an image without a mask."""


def batch_size(**batches: Tensor | None) -> int:
    """Return the number of images in the largest batch; the image of a batch of one is used for each of them.

    Args:
        batches: name of the input -> ``IMAGE``, ``MASK`` or None.

    Raises:
        UserError: if a batch is empty, or has neither one image nor as many as the largest batch.
    """
    sizes = {name: len(batch) for name, batch in batches.items() if batch is not None}
    for name, size in sizes.items():
        if not size:
            raise UserError(f"the batch '{name}' is empty; give at least 1 image")
    largest = max(sizes.values())
    if set(sizes.values()) - {1, largest}:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise UserError(
            f"the batches have different sizes: {listed}. Give either {largest} images in a batch, or 1 image, "
            "which is then used for all"
        )
    return largest


def item_of(batch: Tensor, index: int) -> Array:
    """Return an image or mask of a batch as an array for vitsplice; a batch of one serves every index.

    Values are clamped to [0, 1], as ComfyUI does when it saves an image.
    """
    array: Array = batch[index % len(batch)].float().clamp(0, 1).cpu().numpy()
    return array


def mask_batch(mask: Tensor | None) -> Tensor | None:
    """Return a mask ``(H, W)``, ``(B, H, W)``, ``(B, 1, H, W)`` or ``(B, H, W, 1)`` as ``(B, H, W)``; None for None."""
    if mask is None:
        return None
    channels_last = mask.ndim == 4 and mask.shape[1] != 1 and mask.shape[-1] == 1
    return mask[..., 0] if channels_last else mask.reshape(-1, *mask.shape[-2:])


def mask_of(batch: Tensor | None, index: int) -> Array | None:
    """Return a mask as an array ``(H, W)``; None without a batch, and for a black mask of size `PLACEHOLDER`."""
    mask = None if batch is None else item_of(batch, index)
    return None if mask is None or (mask.shape == PLACEHOLDER and not mask.any()) else mask


def to_images(pixels: Sequence[Tensor]) -> Tensor:
    """Convert images ``(3, H, W)`` of one size to an ``IMAGE``."""
    return _intermediate(torch.stack(list(pixels)).movedim(1, -1))


def to_masks(pixels: Sequence[Tensor]) -> Tensor:
    """Convert grey images ``(3, H, W)``, whose channels are equal, of one size to a ``MASK``."""
    return _intermediate(torch.stack(list(pixels))[:, 0])


def _intermediate(batch: Tensor) -> Tensor:
    """Move a batch to the device on which ComfyUI keeps the outputs of nodes."""
    return batch.contiguous().to(model_management.intermediate_device())
