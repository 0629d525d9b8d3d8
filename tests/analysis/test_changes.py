import pytest
import torch

from tests.conftest import noise
from vitsplice.analysis import changes


@pytest.mark.parametrize("name", changes.APPEARANCE)
def test_appearance_changes_leave_edges_where_they_are(name):
    image = torch.zeros(1, 3, 64, 64)
    image[..., 32:] = torch.tensor([0.8, 0.4, 0.2])[:, None, None]
    made = changes.APPEARANCE[name](image)
    assert made.shape == image.shape
    assert not torch.allclose(made, image, atol=0.01)
    steepest = made.mean((0, 1, 2)).diff().abs().argmax()
    assert steepest == 31


@pytest.mark.parametrize("name", changes.STRUCTURE)
@pytest.mark.parametrize("size", [(64, 64), (50, 70)])
def test_structure_changes_keep_size_and_range(name, size):
    image = noise(1, 3, *size)
    made = changes.STRUCTURE[name](image)
    assert made.shape == image.shape
    assert 0 <= made.min() <= made.max() <= 1
    assert not torch.allclose(made, image, atol=0.05)


def test_shuffling_moves_every_tile_and_loses_none():
    image = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    made = changes.shuffle(image)
    assert sorted(made[0, 0, ::4, ::4].flatten().tolist()) == list(range(16))
    assert (made[0, 0, ::4, ::4] != image[0, 0, ::4, ::4]).all()


def test_a_warp_takes_each_point_from_where_it_says():
    down, across = changes.centres(64, 64).T
    image = torch.stack([down, across, across]).reshape(1, 3, 64, 64)
    for name, where in changes.WARPS.items():
        made = changes.warped(image, where)[0, :2].flatten(1).T
        true = where(changes.centres(64, 64))
        inside = ((true > 0.02) & (true < 0.98)).all(1)
        assert inside.float().mean() > 0.5, name
        torch.testing.assert_close(made[inside], true[inside], atol=0.02, rtol=0)


def test_the_identity_warp_changes_nothing():
    image = noise(1, 3, 20, 30)
    torch.testing.assert_close(changes.warped(image, lambda points: points), image, atol=1e-5, rtol=0)
