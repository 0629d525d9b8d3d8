"""A backbone of which everything is known, and scenes in which everything is known."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vitsplice.contracts import Case, FeatureRequest, Features, MetricContext

PLACE = 8
"""Side of a place of `Colours`, in pixels."""

SIDE = 336
"""Of a scene, in pixels: the size at which segments are taken, so that nothing is resized."""


class Colours:
    """A backbone whose keys are the mean colours of places, and whose [CLS] is the mean colour."""

    def __init__(self, info):
        self.info = replace(
            info, name="colours", structure=FeatureRequest("key"), stride=PLACE, size_multiple=PLACE, min_size=PLACE
        )

    def __call__(self, images, requests):
        maps = F.avg_pool2d(images, PLACE)
        places = Features(maps.flatten(2).transpose(1, 2), tuple(maps.shape[-2:]))
        return {r: places if r.facet == "key" else Features(images.mean((2, 3))) for r in requests}


@pytest.fixture
def context(vit):
    """A context in which every name is that of the known backbone."""
    colours = Colours(vit.info)
    return MetricContext(lambda name: colours, "colours")


def scene(left, top, side, place=PLACE):
    """An orange square on green, and its mask; in places."""
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., top * place : (top + side) * place, left * place : (left + side) * place] = 1
    green, orange = (torch.tensor(colour).view(1, 3, 1, 1) for colour in ((0.2, 0.5, 0.25), (0.9, 0.4, 0.1)))
    return green * (1 - mask) + orange * mask, mask


def case(structure, output, appearance=None, mask=None):
    return Case("c", structure, structure if appearance is None else appearance, output, mask)
