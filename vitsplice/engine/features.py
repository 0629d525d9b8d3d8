"""Features of several pictures in as few backbone passes as possible."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from vitsplice.backbones.resize import Resize
from vitsplice.contracts import Backbone, FeatureRequest, Features

Key = TypeVar("Key", bound=Hashable)


def extract(
    backbone: Backbone, resize: Resize, pictures: Mapping[Key, Tensor], requests: Iterable[FeatureRequest]
) -> dict[Key, dict[FeatureRequest, Features]]:
    """All requested features of all pictures; pictures that come to the same size share one pass.

    Args:
        backbone: what looks.
        resize: to the size at which it looks.
        pictures: key -> ``(1, 3, H, W)``.
        requests: the union of what all terms ask for.
    """
    requests = tuple(dict.fromkeys(requests))
    batches: dict[torch.Size, dict[Key, Tensor]] = {}
    for key, picture in pictures.items():
        seen = resize(picture, backbone.info)
        batches.setdefault(seen.shape, {})[key] = seen
    features = {}
    for batch in batches.values():
        found = backbone(torch.cat(list(batch.values())), requests)
        for row, key in enumerate(batch):
            features[key] = {request: found[request][row : row + 1] for request in requests}
    return features
