import pytest
import torch

from tests.conftest import noise
from vitsplice.analysis.upsampling import upsample
from vitsplice.errors import UserError


def test_upsampling_repeats_blocks_or_follows_edges_of_the_image():
    maps = torch.zeros(3, 8, 10)
    maps[:, :, 5:] = 1
    image = torch.zeros(1, 3, 80, 100)
    image[..., 47:] = 1
    assert torch.equal(upsample(maps, image, "blocks")[:, ::10, ::10], maps)
    edges = upsample(maps, image, "edges")
    assert edges.shape == (3, 80, 100)
    assert 0 <= edges.min() <= edges.max() <= 1
    jump = edges[:, 60].diff(dim=-1).abs().sum(0)
    assert jump.argmax() == 46  # the edge of the image; that of the grid is at 50


@pytest.mark.parametrize(
    ("size", "grid"), [((1200, 40), (2, 1)), ((40, 1200), (1, 2)), ((2, 60), (1, 1)), ((9, 1), (1, 1))]
)
def test_maps_of_a_narrow_image_on_a_coarse_grid_are_upsampled(size, grid):
    edges = upsample(noise(3, *grid), noise(1, 3, *size))
    assert edges.shape == (3, *size)
    assert edges.isfinite().all()


def test_an_unknown_mode_is_refused():
    with pytest.raises(UserError, match="upsampling='bilinear' is not allowed; choose edges or blocks"):
        upsample(torch.rand(1, 4, 4), torch.rand(1, 3, 32, 32), "bilinear")
