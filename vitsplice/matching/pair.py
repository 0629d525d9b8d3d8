"""The correspondence of two pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.resize import Area
from vitsplice.contracts import Backbone
from vitsplice.matching.assignment import Correspondence, assign
from vitsplice.matching.descriptors import describe, similarity


@torch.no_grad()
def correspond(
    first: Tensor,
    second: Tensor,
    backbone: Backbone,
    *,
    side: int = 672,
    temperature: float = 0.02,
    balance: float = 0.2,
    mask: Tensor | None = None,
) -> Correspondence:
    """Match two pictures.

    Args:
        first, second: ``(1, 3, H, W)`` in [0, 1], on the backbone's device; their sizes may differ.
        backbone: any.
        side: pictures are brought to about ``side * side`` pixels, aspect kept.
        temperature, balance: see `assignment`.
        mask: ``(1, 1, H, W)`` in [0, 1] over the second picture: what may be taken from it; None is all.
    """
    area = Area(side)
    one, two = (describe(backbone, area(picture, backbone.info)) for picture in (first, second))
    grid, other = one.grid or (1, 1), two.grid or (1, 1)
    allowed = None if mask is None else F.adaptive_avg_pool2d(mask, other).flatten()
    return assign(similarity(one.values, two.values)[0], grid, other, temperature, balance, allowed)
