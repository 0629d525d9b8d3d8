import math

import pytest
import torch

from tests.conftest import noise
from vitsplice.analysis import encoding
from vitsplice.analysis.transforms import WARPS, warp
from vitsplice.contracts import Features


def local(pixels, side=8):
    """A toy backbone: the image's own pixels, averaged to places."""
    maps = torch.nn.functional.adaptive_avg_pool2d(pixels, side)
    return Features(maps.flatten(2).transpose(1, 2), (side, side))


def test_cka_of_a_thing_with_itself_is_1_and_scale_does_not_matter():
    kernel = encoding.structure_of(local(noise(1, 3, 64, 64)))
    torch.testing.assert_close(encoding.cka(torch.stack([kernel, kernel, 3 * kernel + 2])), torch.ones(3, 3))
    flat = encoding.cka(torch.stack([kernel, torch.ones_like(kernel)]))
    torch.testing.assert_close(flat, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_cka_agrees_with_its_definition_and_lies_between_0_and_1():
    one, two = (encoding.structure_of(local(noise(1, 3, 64, 64, seed=s))) for s in (1, 2))
    n = len(one)
    centre = torch.eye(n, dtype=torch.float64) - 1 / n

    def hsic(k, m):
        return torch.trace(k.double() @ centre @ m.double() @ centre)

    expected = hsic(one, two) / (hsic(one, one) * hsic(two, two)).sqrt()
    found = encoding.cka(torch.stack([one, two]))
    assert float(found[0, 1]) == float(found[1, 0]) == pytest.approx(float(expected), abs=1e-5)
    assert 0 <= found[0, 1] < 1


def test_pck_of_the_identity_is_1():
    features = local(noise(1, 3, 64, 64))
    assert encoding.pck(features, features, lambda points: points, alpha=0) == 1.0


@pytest.mark.parametrize("places", [(1, 0), (2, 3), (0, -3)])
def test_pck_of_shifts_by_whole_places_is_1(places):
    whole = noise(1, 3, 128, 128)
    down, across = (8 * number for number in places)
    one, two = whole[..., 32:96, 32:96], whole[..., 32 - down : 96 - down, 32 - across : 96 - across]

    def where(points):
        return points - torch.tensor(places) / 8

    assert encoding.pck(local(one), local(two), where, alpha=1e-6) == 1.0


def test_pck_of_a_backbone_that_matches_anything_is_what_chance_gives():
    generator = torch.Generator().manual_seed(0)
    one, two = (Features(torch.randn(1, 1600, 32, generator=generator), (40, 40)) for _ in range(2))
    chance = encoding.pck(one, two, lambda points: points)
    assert chance == pytest.approx(math.pi * 0.1**2, abs=0.01)


def test_pck_measures_the_euclidean_distance():
    """A sixteenth of the side off in both directions is 0.088: no match at 0.07, every match at 0.09."""
    features = local(noise(1, 3, 64, 64), 16)

    def where(points):
        return points + 1 / 16

    assert encoding.pck(features, features, where, alpha=0.07) == 0
    assert encoding.pck(features, features, where, alpha=0.09) == 1


def test_places_that_come_from_outside_do_not_count():
    features = local(noise(1, 3, 64, 64))
    assert torch.tensor(encoding.pck(features, features, lambda points: points + 2)).isnan()


def test_pixels_follow_every_warp():
    """Smooth images: the colour of a place tells it apart."""
    down, across = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    image = torch.stack([down, across, 1 - down])[None]
    for where in WARPS.values():
        assert encoding.pck(local(image, 16), local(warp(image, where), 16), where) > 0.85


def test_clusters_of_a_image_in_two_halves_find_them():
    maps = 0.01 * noise(1, 3, 64, 64)
    maps[..., 20:] += torch.tensor([0.5, 0.2, 0.9])[:, None, None]
    labels = torch.zeros(64, 64, dtype=torch.long)
    labels[:, 20:] = 1
    assert encoding.separability(local(maps, 16), labels) == 1.0


def test_clusters_of_what_has_nothing_to_do_with_the_labels_do_not():
    labels = (noise(16, 16, seed=3) > 0.5).long().repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert encoding.separability(local(noise(1, 3, 64, 64), 16), labels) < 0.6


def test_mean_iou_by_hand():
    found, known = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    assert encoding.mean_iou(found, known) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_kmeans_finds_far_groups():
    groups = torch.tensor([[0.0, 0], [10, 0], [0, 10]]).repeat_interleave(20, 0) + noise(60, 2)
    found = encoding.kmeans(groups, 3).reshape(3, 20)
    assert (found == found[:, :1]).all()
    assert len(found[:, 0].unique()) == 3


def test_the_common_grid_averages_what_is_finer():
    maps = noise(1, 3, 64, 64)
    fine = Features(maps.flatten(2).transpose(1, 2), (64, 64))
    assert encoding.on_common_grid(fine).shape == (256, 3)
    torch.testing.assert_close(encoding.on_common_grid(fine).mean(0), maps.mean((0, 2, 3)), atol=0.01, rtol=0)
