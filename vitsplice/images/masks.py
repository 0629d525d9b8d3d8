"""Masks as programs have them: truth values, or one channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_image(mask: Any) -> Any:
    """A mask of truth values or of one channel as an image that `vitsplice.images.read` takes; others as they are.

    Args:
        mask: among others an array or tensor of truth values, or a tensor ``(H, W)``, ``(1, H, W)`` or
            ``(1, 1, H, W)``.
    """
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        return mask.astype(np.uint8) * 255
    if not isinstance(mask, Tensor):
        return mask
    values = mask.float() if mask.dtype == torch.bool else mask
    if values.ndim in (2, 3, 4) and values.shape[:-2].numel() == 1:
        return values.reshape(1, *values.shape[-2:]).expand(3, -1, -1)
    return values
