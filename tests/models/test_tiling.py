from itertools import pairwise

import pytest
import torch
from torch import nn

from vitsplice.models.tiling import BLEND, in_tiles, spans
from vitsplice.rng import private_rng

from ..conftest import noise


def convolutions(reach):
    """A network without normalisation; each output pixel depends on pixels up to ``reach`` rows and columns away."""
    with private_rng(0):
        layers = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(reach)]
    return nn.Sequential(*(module for layer in layers for module in (layer, nn.Tanh()))).eval()


@pytest.mark.parametrize("size", [(300, 500), (512, 130), (193, 192)])
def test_output_in_tiles_is_close_to_the_output_at_once_if_margins_cover_the_reach(size):
    network, image = convolutions(4), noise(2, 3, *size)
    with torch.no_grad():
        whole = network(image)
        tiled = in_tiles(lambda view: network(view.crop(image)), size, tile=192, margin=8, multiple=32)
    assert tiled.shape == whole.shape
    assert torch.allclose(tiled, whole, atol=1e-6)


def test_tiles_that_differ_are_blended_without_a_seam():
    numbers = iter(range(100))

    def constant(view):
        return torch.full((1, 1, view.height, view.width), float(next(numbers)))

    output = in_tiles(constant, (64, 700), tile=256, margin=8, multiple=32)
    assert float(output.diff(dim=-1).abs().max()) <= 1.01 / BLEND
    assert float(output[..., 0].max()) == 0
    assert float(output[..., -1].min()) == float(output.max())


@pytest.mark.parametrize(
    ("side", "tile", "overlap", "multiple"), [(1000, 512, 128, 32), (513, 512, 128, 96), (5000, 1536, 416, 96)]
)
def test_tiles_begin_at_multiples_overlap_and_cover_the_side(side, tile, overlap, multiple):
    tiles = list(spans(side, tile, overlap, multiple))
    assert tiles[0][0] == 0
    assert sum(tiles[-1]) == side
    for (first, length), (following, _) in pairwise(tiles):
        assert length == tile
        assert following % multiple == 0
        assert first + length - following >= overlap
