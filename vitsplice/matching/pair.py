"""The correspondence of two pictures."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.resize import Area
from vitsplice.contracts import Backbone
from vitsplice.errors import PictureError, UserError
from vitsplice.images.tensors import OVERSHOOT, image_batch
from vitsplice.matching.assignment import Correspondence, assign
from vitsplice.matching.descriptors import describe, similarity
from vitsplice.numerics import numerics


@numerics(grad=False)
def correspond(
    first: Tensor,
    second: Tensor,
    backbone: Backbone,
    *,
    places: int = 48,
    temperature: float = 0.02,
    balance: float = 0.2,
    mask: Tensor | None = None,
) -> Correspondence:
    """Match two pictures.

    Args:
        first, second: ``(3, H, W)`` or ``(1, 3, H, W)`` in [0, 1], on the backbone's device; their sizes may differ.
        backbone: any.
        places: pictures are brought to a size of about ``places * places`` places, aspect kept.
        temperature, balance: see `assignment`.
        mask: ``(1, 1, H, W)`` in [0, 1] over the second picture: what may be taken from it; None is all.

    Raises:
        UserError: if one is no image, or the backbone is not loaded.
    """
    if isinstance(backbone, str):
        raise UserError(f"correspond takes a loaded backbone: vitsplice.load_backbone({backbone!r})")
    first, second = _image(first, "first"), _image(second, "second")
    info = backbone.info
    finest = max(1, info.stride // 2) if info.structure.facet == "map" else info.stride
    area = Area(places * finest)
    one, two = (describe(backbone, area(picture, info)) for picture in (first, second))
    grid, other = one.grid or (1, 1), two.grid or (1, 1)
    allowed = None if mask is None else F.adaptive_avg_pool2d(mask, other).flatten()
    return assign(similarity(one.values, two.values)[0], grid, other, temperature, balance, allowed)


def _image(pixels: Tensor, name: str) -> Tensor:
    """One image ``(1, 3, H, W)``, checked."""
    batch = image_batch(pixels, name, tolerance=OVERSHOOT)
    if len(batch) != 1:
        raise PictureError(f"'{name}' must be one image; this is a batch of {len(batch)}")
    return batch
