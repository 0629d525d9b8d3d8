"""Whether corresponding places look alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.sizing import Resize
from vitsplice.contracts import Case, Metric, MetricContext
from vitsplice.images.transforms import to_lab
from vitsplice.matching import correspond

GRID = 32
"""Images are matched on a grid of about so many places a side."""

PIXELS = 8
"""Side of a place when its colour and contrast are taken."""


def local_appearance(context: MetricContext) -> Metric:
    """Distance of local Lab mean and contrast of the output and the appearance image, where the images correspond.

    Places of the structure image and of the appearance image correspond where each is the other's nearest; the output
    takes no part in the matching. The distance is that of the mean Lab colours plus the difference of the deviations
    of lightness, in units of Lab / 100, the mean over those places.
    """
    backbone = context.load(context.backbone)

    def value(case: Case) -> float:
        found = correspond(case.structure, case.appearance, backbone, grid=GRID)
        made = looks(case.output, found.grid)[found.mutual]
        wanted = looks(case.appearance, found.other_grid)[found.best[found.mutual]]
        return local_distance(made, wanted)

    return Metric(value, (backbone.info,), {"places": GRID, "pixels_a_place": PIXELS, "matches": "mutual"})


def looks(image: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean Lab / 100 and deviation of lightness of each place of a grid, ``(h * w, 4)``."""
    sized = Resize().to(image, (grid[0] * PIXELS, grid[1] * PIXELS)).clamp(0, 1)
    lab = to_lab(sized)
    mean = F.avg_pool2d(lab, PIXELS)
    light = lab[:, :1] - F.interpolate(mean[:, :1], scale_factor=PIXELS, mode="nearest")
    deviation = F.avg_pool2d(light.square(), PIXELS).sqrt()
    return torch.cat([mean, deviation], 1).flatten(2)[0].T


def local_distance(made: Tensor, wanted: Tensor) -> float:
    """The mean over places of the distance of colours plus the difference of deviations; both ``(K, 4)``."""
    difference = made - wanted
    return float((difference[:, :3].norm(dim=1) + difference[:, 3].abs()).mean())
