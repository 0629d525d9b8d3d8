"""The correspondence of two images."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.sizing import Area
from vitsplice.contracts import Backbone, Features
from vitsplice.errors import ImageError, UserError
from vitsplice.images.checks import OVERSHOOT, image_batch
from vitsplice.images.transforms import to_lab
from vitsplice.matching.agreement import affinity, agreed_assignment
from vitsplice.matching.assignment import Correspondence, assignment
from vitsplice.matching.descriptors import describe, similarity
from vitsplice.numerics import numerics

AGREEMENT = 0.25
"""Weight of agreement beside the similarity, by default."""


@numerics(grad=False)
def correspond(
    first: Tensor,
    second: Tensor,
    backbone: Backbone,
    *,
    grid: int = 48,
    temperature: float = 0.02,
    balance: float = 0.2,
    agreement: float = AGREEMENT,
    mask: Tensor | None = None,
) -> Correspondence:
    """Match two images.

    The second is matched as it is and mirrored, and whichever is more alike is taken: features of a ViT tell left from
    right, and would match the head of an animal that faces left with the tail of one that faces right.

    Args:
        first, second: ``(3, H, W)`` or ``(1, 3, H, W)`` in [0, 1], on the backbone's device; their sizes may differ.
        backbone: any.
        grid: both images are resized to about ``grid * grid`` patches; the aspect ratio is preserved.
        temperature, balance: see `assignment`.
        agreement: weight of what neighbours take, in units of similarity; 0 matches each patch by itself. See
            `vitsplice.matching.agreement`.
        mask: ``(1, 1, H, W)`` in [0, 1] over the second image: what may be taken from it; None is all.

    Raises:
        UserError: if one is no image, a value is out of range, or the backbone is not loaded.
    """
    if isinstance(backbone, str):
        raise UserError(f"correspond takes a loaded backbone: vitsplice.load_backbone({backbone!r})")
    if not 0 <= agreement < math.inf:
        raise UserError(f"agreement {agreement} is not allowed; it is at least 0, and finite")
    first, second = _image(first, "first"), _image(second, "second")
    info = backbone.info
    stride = max(1, info.stride // 2) if info.structure.facet == "map" else info.stride
    area = Area(grid * stride)
    descriptors, others = (describe(backbone, area(image, info)) for image in (first, second))
    flipped = _mirrored(describe(backbone, area(second.flip(-1), info)))
    first_grid, second_grid = descriptors.grid or (1, 1), others.grid or (1, 1)
    allowed = None if mask is None else F.adaptive_avg_pool2d(mask, second_grid).flatten()
    similarities, mirrored_similarities = (similarity(descriptors.values, f.values)[0] for f in (others, flipped))
    mirrored = bool(mirrored_similarities.max(1).values.mean() > similarities.max(1).values.mean())
    similarities = mirrored_similarities if mirrored else similarities
    if not agreement:
        weights = assignment(similarities, temperature, balance, allowed)
    else:
        first_colours, second_colours = _colours(first, first_grid), _colours(second, second_grid)
        neighbours = agreement * affinity(first_colours, descriptors.values[0], first_grid)
        weights = agreed_assignment(similarities, neighbours, second_colours, temperature, balance, allowed)
    return Correspondence(weights, similarities, first_grid, second_grid, mirrored)


def _mirrored(features: Features) -> Features:
    """Features of a mirrored image, each back at the location that it belongs to."""
    return Features(features.maps.flip(-1).flatten(2).transpose(1, 2), features.grid)


def _colours(image: Tensor, grid: tuple[int, int]) -> Tensor:
    """The mean Lab / 100 of each patch, ``(h * w, 3)``."""
    return F.adaptive_avg_pool2d(to_lab(image), grid).flatten(2)[0].T


def _image(pixels: Tensor, name: str) -> Tensor:
    """One image ``(1, 3, H, W)``, checked."""
    batch = image_batch(pixels, name, tolerance=OVERSHOOT)
    if len(batch) != 1:
        raise ImageError(f"'{name}' must be one image; this is a batch of {len(batch)}")
    return batch
