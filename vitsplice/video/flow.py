"""Optical flow between frames, its composition, and where it can be trusted.

The flow is that of OpenCV's DIS (Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search"), which needs no
weights. A flow maps each pixel x of one frame to x + flow(x) in another. In `Motion` and `sample_at` the flow is in
fractions of the frame's sides, so that it applies at any resolution; elsewhere in this module it is in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vitsplice.images.transforms import sample_bilinear
from vitsplice.video.colours import Pixels
from vitsplice.video.packages import opencv

MAX_SIDE = 512
"""Maximum of the longer side in pixels at which flow is computed, unless the shorter side would be below `MIN_SIDE`."""

MIN_SIDE = 32
"""Minimum height and width for DIS; smaller frames are enlarged."""

RELATIVE, ABSOLUTE = 0.01, 0.5
"""Forward flow f and backward flow b are consistent where |f + b|^2 < RELATIVE (|f|^2 + |b|^2) + ABSOLUTE, in pixels
(Sundaram et al. 2010; Ruder et al. 2016)."""


Grey = NDArray[np.uint8]
"""Grey image, ``(h, w)``."""


@dataclass(frozen=True)
class Motion:
    """Flow from the pixels of a first frame to another, earlier or later frame, and where it can be trusted.

    Args:
        flow: ``(1, 2, h, w)``: right and down, as fractions of width and height.
        valid: ``(1, 1, h, w)`` in [0, 1]: 0 where the pixel is hidden in the other frame or outside of it.
    """

    flow: Tensor
    valid: Tensor

    def sample(self, maps: Tensor) -> Tensor:
        """Fetch maps of the other frame along the flow.

        Args:
            maps: ``(1, C, H, W)``, maps of the other frame.

        Returns:
            ``(1, C, H, W)``, aligned with the first frame; bilinear, the border is repeated.
        """
        return sample_at(maps, self.resized((maps.shape[-2], maps.shape[-1])).flow)

    def then(self, following: Motion) -> Motion:
        """Return the motion from the first frame to a third one, given the motion from the other frame to the third."""
        maps = self.sample(torch.cat([following.flow, following.valid], 1))
        return Motion(self.flow + maps[:, :2], self.valid * maps[:, 2:])

    def resized(self, size: tuple[int, int]) -> Motion:
        """Resize to ``(H, W)``: averaged if no side becomes longer, otherwise bilinearly interpolated."""
        if self.flow.shape[-2:] == size:
            return self
        maps = torch.cat([self.flow, self.valid], 1)
        smaller = size[0] <= maps.shape[-2] and size[1] <= maps.shape[-1]
        resized = (
            F.adaptive_avg_pool2d(maps, size)
            if smaller
            else F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
        )
        return Motion(resized[:, :2], resized[:, 2:])

    def to(self, device: torch.device) -> Motion:
        """Move to a device."""
        return Motion(self.flow.to(device), self.valid.to(device))

    def track(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Move points of the first frame to the other one.

        Args:
            points: row and column as fractions of the sides, ``(K, 2)``.

        Returns:
            The moved points ``(K, 2)``, and the validity at each, ``(K,)``.
        """
        values = sample_bilinear(torch.cat([self.flow, self.valid], 1), points[None])[0]
        return points + values[:, :2].flip(-1), values[:, 2]


def sample_at(maps: Tensor, flow: Tensor) -> Tensor:
    """Sample maps ``(1, C, H, W)`` at x + flow(x), with a flow ``(1, 2, H, W)`` in fractions of the sides."""
    height, width = flow.shape[-2:]
    rows, columns = ((torch.arange(side, device=flow.device) + 0.5) / side for side in (height, width))
    positions = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], -1)[None]
    positions = 2 * (positions + flow.permute(0, 2, 3, 1)) - 1
    return F.grid_sample(maps, positions.to(maps), padding_mode="border", align_corners=False)


def no_motion(size: tuple[int, int]) -> Motion:
    """Return a flow of 0 at a size ``(h, w)``, valid everywhere."""
    return Motion(torch.zeros(1, 2, *size), torch.ones(1, 1, *size))


def working_image(pixels: Pixels) -> Grey:
    """Return the luma of a frame at the size at which flow is computed, ``(h, w)`` uint8."""
    cv2 = opencv()
    height, width = pixels.shape[:2]
    scale = max(min(1.0, MAX_SIDE / max(height, width)), MIN_SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(grey if scale == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA))


def motions(earlier: Grey, later: Grey) -> tuple[Motion, Motion]:
    """Compute the motion from the later frame back to the earlier one, and from the earlier one to the later one.

    Args:
        earlier, later: two frames, as `working_image` returns them.
    """
    cv2 = opencv()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the result of DIS depends on the number of threads
    try:
        backward, forward = _flow(later, earlier), _flow(earlier, later)
    finally:
        cv2.setNumThreads(threads)
    size = torch.tensor([backward.shape[-1], backward.shape[-2]]).reshape(1, 2, 1, 1)
    return Motion(backward / size, consistent(backward, forward)), Motion(forward / size, consistent(forward, backward))


def consistent(flow: Tensor, opposite: Tensor) -> Tensor:
    """Return 1 where a flow agrees with the opposite flow and stays inside of the frame, else 0, ``(1, 1, h, w)``.

    Args:
        flow, opposite: ``(1, 2, h, w)``, in pixels.
    """
    height, width = flow.shape[-2:]
    size = flow.new_tensor([width, height]).reshape(1, 2, 1, 1)
    returned = sample_at(opposite, flow / size)
    difference = (flow + returned).square().sum(1, keepdim=True)
    allowed = RELATIVE * (flow.square() + returned.square()).sum(1, keepdim=True) + ABSOLUTE
    return ((difference < allowed) & _inside(flow)).to(flow)


def _inside(flow: Tensor) -> Tensor:
    """Return whether each pixel stays inside of the frame, ``(1, 1, h, w)``; the flow is in pixels."""
    height, width = flow.shape[-2:]
    columns = torch.arange(width) + flow[:, :1]
    rows = torch.arange(height)[:, None] + flow[:, 1:]
    return (columns >= -0.5) & (columns <= width - 0.5) & (rows >= -0.5) & (rows <= height - 0.5)


def _flow(first: Grey, second: Grey) -> Tensor:
    """Compute the flow from a first frame to a second in pixels, ``(1, 2, h, w)``."""
    cv2 = opencv()
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, None)
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))[None]
