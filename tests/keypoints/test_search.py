import pytest
import torch
import torch.nn.functional as F

from tests.analysis.toys import Toy
from tests.conftest import noise
from vitsplice.analysis.transforms import grid_centres
from vitsplice.contracts import FeatureRequest
from vitsplice.keypoints.search import at, enlarged_lengths, found_again


def enlarged(maps, size):
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)[0]


def find(source, target, points, size):
    return found_again(source, target, points, size, enlarged_lengths(target, size))


SIZES = [((6, 7), (30, 42)), ((1, 5), (9, 20)), ((5, 1), (20, 9)), ((4, 4), (4, 4)), ((9, 8), (5, 6))]


@pytest.mark.parametrize(("grid", "size"), SIZES)
def test_lengths_are_those_of_the_enlarged_features(grid, size):
    maps = torch.randn(1, 3, *grid, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(enlarged_lengths(maps, size), enlarged(maps, size).norm(dim=0), atol=1e-5)


@pytest.mark.parametrize(("grid", "size"), SIZES)
def test_nothing_of_the_enlarged_features_is_more_like_a_point_than_what_it_finds(grid, size):
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.randn(1, 5, *grid, generator=generator, dtype=torch.float64) for _ in range(2))
    points = torch.rand(40, 2, generator=generator, dtype=torch.float64)
    cosines = at(source, points) @ F.normalize(enlarged(target, size).flatten(1), dim=0)
    place = (find(source, target, points, size) * torch.tensor(size) - 0.5).round().long()
    found = cosines.gather(1, (place[:, :1] * size[1] + place[:, 1:]))[:, 0]
    assert torch.allclose(found, cosines.amax(1), atol=1e-9)


def test_at_the_middle_of_a_place_its_value_and_between_two_their_mean():
    maps = torch.arange(6.0).reshape(1, 1, 2, 3)
    points = torch.tensor([[0.25, 1 / 6], [0.75, 5 / 6], [0.25, 1 / 3], [-1.0, -1.0]], dtype=torch.float64)
    assert at(maps, points)[:, 0].tolist() == pytest.approx([0, 5, 0.5, 0], abs=1e-6)


def test_it_finds_points_between_the_middles_of_places_to_the_pixel():
    maps = torch.randn(1, 16, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    points = grid_centres(48, 48).double()
    between = ((points > 1 / 12) & (points < 11 / 12)).all(1)
    assert torch.allclose(find(maps, maps, points[between], (48, 48)), points[between], atol=1e-6)
    assert ((find(maps, maps, points, (48, 48)) - points).abs() <= 4 / 48).all()  # at the border, half a place


def see(images):
    """A place is told by what is around it."""
    weights = torch.randn(32, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    return F.conv2d(images - 0.5, weights, padding=2).tanh()


@pytest.mark.parametrize("places", [(0, 0), (1, 0), (2, 3), (0, -3)])
def test_a_shift_by_whole_places_is_found_to_the_pixel(places):
    whole = noise(1, 3, 128, 160)
    down, across = (4 * number for number in places)
    one, two = whole[..., 32:96, 32:112], whole[..., 32 - down : 96 - down, 32 - across : 112 - across]
    request = FeatureRequest("map")
    source, target = (Toy(see)(image, [request])[request].maps for image in (one, two))
    points = grid_centres(64, 80).double()
    true = points + torch.tensor(places, dtype=torch.float64) / torch.tensor([16, 20])
    inside = ((true > 0.1) & (true < 0.9) & (points > 0.1) & (points < 0.9)).all(1)
    assert torch.allclose(find(source, target, points[inside], (64, 80)), true[inside], atol=1e-6)


def test_no_points_are_none():
    maps = torch.ones(1, 2, 3, 3)
    assert find(maps, maps, torch.empty(0, 2, dtype=torch.float64), (6, 6)).shape == (0, 2)


def test_features_that_are_nothing_are_no_trouble():
    maps = torch.zeros(1, 2, 3, 3)
    assert find(maps, maps, torch.rand(3, 2), (6, 6)).isfinite().all()
