"""Colours: CIE Lab, in which distances are about as the eye sees them. Lab is scaled so that L is in [0, 1]."""

from __future__ import annotations

import kornia
import torch
from torch import Tensor

SCALE = 100.0


def to_lab(images: Tensor) -> Tensor:
    """Images ``(B, 3, H, W)`` in [0, 1] to Lab / 100: L in [0, 1], a and b about within -1 .. 1. Differentiable."""
    return torch.as_tensor(kornia.color.rgb_to_lab(images)) / SCALE


def to_rgb(lab: Tensor) -> Tensor:
    """Lab / 100 back to images in [0, 1], colours that no screen has cut off."""
    return torch.as_tensor(kornia.color.lab_to_rgb(lab * SCALE)).clamp(0, 1)
