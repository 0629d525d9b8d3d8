"""Flicker of a video: the warping error of consecutive frames.

The definition is that of Lai et al. 2018, "Learning Blind Video Temporal Consistency":

    E = sum_i M_i |V_t(x_i) - V_{t+1}(x_i + f(x_i))|^2 / sum_i M_i

with V the RGB values in [0, 1], f the flow of the input from frame t to frame t + 1, and M = 1 where this flow can be
trusted: where the pixel is not hidden in the other frame, and not at a motion boundary (Ruder et al. 2016). Squared
differences are summed over the channels. The input has an error too, from noise, resampling and changing light.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitsplice.video.flow import Motion

BOUNDARY_RELATIVE, BOUNDARY_ABSOLUTE = 0.01, 0.002
"""A motion boundary is where |grad u|^2 + |grad v|^2 > BOUNDARY_RELATIVE |f|^2 + BOUNDARY_ABSOLUTE, for a flow
f = (u, v) in pixels."""

MIN_VALIDITY = 1 - 1e-4
"""Minimum validity of a pixel that counts: full validity, up to rounding of the interpolation."""


def warping_error(earlier: Tensor, later: Tensor, motion: Motion) -> float | None:
    """Compute the warping error of two frames.

    Args:
        earlier, later: ``(1, 3, H, W)`` in [0, 1].
        motion: motion of the input from the earlier frame to the later one.

    Returns:
        The error, or None if the motion can be trusted nowhere.
    """
    mask = without_boundaries(motion).resized((earlier.shape[-2], earlier.shape[-1])).valid >= MIN_VALIDITY
    if not mask.any():
        return None
    difference = (earlier - motion.sample(later)).square().sum(1, keepdim=True)
    return float(difference[mask].mean())


def without_boundaries(motion: Motion) -> Motion:
    """Return a motion with validity 0 at motion boundaries."""
    height, width = motion.flow.shape[-2:]
    flow = motion.flow * motion.flow.new_tensor([width, height]).reshape(1, 2, 1, 1)
    steep = sum(gradient.square().sum(1, keepdim=True) for gradient in torch.gradient(flow, dim=(2, 3)))
    boundary = steep > BOUNDARY_RELATIVE * flow.square().sum(1, keepdim=True) + BOUNDARY_ABSOLUTE
    return Motion(motion.flow, motion.valid * ~boundary)
