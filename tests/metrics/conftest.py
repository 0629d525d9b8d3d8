"""A backbone and scenes with known features, a log of conversions of tensors, and trained backbones."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vitsplice.config import BackboneConfig
from vitsplice.contracts import Case, FeatureRequest, Features, MetricContext
from vitsplice.metrics.backbones import MetricBackbones
from vitsplice.plugins import catalogue

PATCH = 8
"""Side of a patch of `Colours`, in pixels."""

SIDE = 336
"""Side of a scene in pixels: `vitsplice.metrics.segments.SIZE`, so that its metrics do not resize scenes."""


class Colours:
    """A backbone whose keys are the mean colours of patches, and whose [CLS] token is the mean colour of the image."""

    def __init__(self, info):
        self.info = replace(
            info, name="colours", structure=FeatureRequest("key"), stride=PATCH, size_multiple=PATCH, min_size=PATCH
        )

    def __call__(self, images, requests):
        maps = F.avg_pool2d(images, PATCH)
        patches = Features(maps.flatten(2).transpose(1, 2), tuple(maps.shape[-2:]))
        return {r: patches if r.facet == "key" else Features(images.mean((2, 3))) for r in requests}


@pytest.fixture
def context(vit):
    """A context whose every backbone is `Colours`."""
    colours = Colours(vit.info)
    return MetricContext(lambda name: colours, "colours")


def scene(left, top, side, patch=PATCH):
    """An orange square on green, and its mask; position and side in patches."""
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., top * patch : (top + side) * patch, left * patch : (left + side) * patch] = 1
    green, orange = (torch.tensor(colour).view(1, 3, 1, 1) for colour in ((0.2, 0.5, 0.25), (0.9, 0.4, 0.1)))
    return green * (1 - mask) + orange * mask, mask


def case(structure, output, appearance=None, mask=None):
    return Case("c", structure, structure if appearance is None else appearance, output, mask)


@pytest.fixture
def conversions(monkeypatch):
    """List that gets ``cpu`` or ``double`` at each such conversion of a tensor.

    Tests check the order: a tensor on MPS, which has no float64, must first be moved to the CPU.
    """
    names = []
    for name in ("cpu", "double"):
        convert = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda tensor, name=name, convert=convert: names.append(name) or convert(tensor)
        )
    return names


@pytest.fixture(scope="session")
def trained_backbones():
    """Backbones with trained weights, each loaded once."""
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    chosen = BackboneConfig(name="none")  # no backbone has this name, so none is replaced by a fallback
    return MetricBackbones(catalogue(), torch.device("cpu"), chosen)
