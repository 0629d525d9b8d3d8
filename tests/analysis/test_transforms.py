import pytest
import torch

from tests.conftest import noise
from vitsplice.analysis import transforms
from vitsplice.analysis.transforms import APPEARANCE_TRANSFORMS, STRUCTURE_TRANSFORMS, WARPS, grid_centres, warp


@pytest.mark.parametrize("name", APPEARANCE_TRANSFORMS)
def test_appearance_transforms_keep_edges_in_place(name):
    image = torch.zeros(1, 3, 64, 64)
    image[..., 32:] = torch.tensor([0.8, 0.4, 0.2])[:, None, None]
    output = APPEARANCE_TRANSFORMS[name](image)
    assert output.shape == image.shape
    assert not torch.allclose(output, image, atol=0.01)
    steepest = output.mean((0, 1, 2)).diff().abs().argmax()
    assert steepest == 31


@pytest.mark.parametrize("name", STRUCTURE_TRANSFORMS)
@pytest.mark.parametrize("size", [(64, 64), (50, 70)])
def test_structure_transforms_preserve_size_and_range(name, size):
    image = noise(1, 3, *size)
    output = STRUCTURE_TRANSFORMS[name](image)
    assert output.shape == image.shape
    assert 0 <= output.min() <= output.max() <= 1
    assert not torch.allclose(output, image, atol=0.05)


def test_shuffle_moves_every_tile_and_loses_none():
    image = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    output = transforms.shuffle(image)
    assert sorted(output[0, 0, ::4, ::4].flatten().tolist()) == list(range(16))
    assert (output[0, 0, ::4, ::4] != image[0, 0, ::4, ::4]).all()


@pytest.mark.parametrize("name", WARPS)
def test_warp_samples_the_source_points(name):
    points = grid_centres(64, 64)
    y, x = points.T
    output = warp(torch.stack([y, x, x]).reshape(1, 3, 64, 64), WARPS[name])[0, :2].flatten(1).T
    source = WARPS[name](points)
    inside = ((source > 0.02) & (source < 0.98)).all(1)
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(output[inside], source[inside], atol=0.02, rtol=0)


def test_identity_warp_preserves_the_image():
    image = noise(1, 3, 20, 30)
    torch.testing.assert_close(warp(image, lambda points: points), image, atol=1e-5, rtol=0)
