import pytest
import torch
import torch.nn.functional as F

from tests.analysis.toys import Toy
from tests.conftest import noise
from vitsplice.analysis.transforms import grid_centres
from vitsplice.contracts import FeatureRequest
from vitsplice.images.transforms import sample_bilinear
from vitsplice.keypoints.matching import match_points, upsampled_norms


def upsample(maps, size):
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)[0]


def match(source, target, points, size):
    return match_points(source, target, points, size, upsampled_norms(target, size))


GRIDS_AND_SIZES = [((6, 7), (30, 42)), ((1, 5), (9, 20)), ((5, 1), (20, 9)), ((4, 4), (4, 4)), ((9, 8), (5, 6))]


@pytest.mark.parametrize(("grid", "size"), GRIDS_AND_SIZES)
def test_norms_are_those_of_the_upsampled_features(grid, size):
    maps = torch.randn(1, 3, *grid, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(upsampled_norms(maps, size), upsample(maps, size).norm(dim=0), atol=1e-5)


@pytest.mark.parametrize(("grid", "size"), GRIDS_AND_SIZES)
def test_match_has_the_greatest_cosine_similarity_of_all_upsampled_features(grid, size):
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.randn(1, 5, *grid, generator=generator, dtype=torch.float64) for _ in range(2))
    points = torch.rand(40, 2, generator=generator, dtype=torch.float64)
    products = sample_bilinear(source, points[None])[0] @ F.normalize(upsample(target, size).flatten(1), dim=0)
    pixel = (match(source, target, points, size) * torch.tensor(size) - 0.5).round().long()
    matched = products.gather(1, (pixel[:, :1] * size[1] + pixel[:, 1:]))[:, 0]
    assert torch.allclose(matched, products.amax(1), atol=1e-9)


def test_pixels_between_patch_centres_are_matched_to_themselves():
    maps = torch.randn(1, 16, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    points = grid_centres(48, 48).double()
    between = ((points > 1 / 12) & (points < 11 / 12)).all(1)  # the centres of the outermost of 6 patches
    assert torch.allclose(match(maps, maps, points[between], (48, 48)), points[between], atol=1e-6)
    assert ((match(maps, maps, points, (48, 48)) - points).abs() <= 4 / 48).all()  # half a patch at the border


def neighbourhood(images):
    """Features of each pixel that depend on its 5x5 neighbourhood."""
    weights = torch.randn(32, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    return F.conv2d(images - 0.5, weights, padding=2).tanh()


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (2, 3), (0, -3)])
def test_shift_by_whole_patches_is_recovered_exactly(shift):
    image = noise(1, 3, 128, 160)
    dy, dx = (4 * patches for patches in shift)  # patches of 4 pixels
    crops = image[..., 32:96, 32:112], image[..., 32 - dy : 96 - dy, 32 - dx : 112 - dx]
    request = FeatureRequest("map")
    source, target = (Toy(neighbourhood)(crop, [request])[request].maps for crop in crops)
    points = grid_centres(64, 80).double()
    true = points + torch.tensor(shift, dtype=torch.float64) / torch.tensor([16, 20])
    inside = ((true > 0.1) & (true < 0.9) & (points > 0.1) & (points < 0.9)).all(1)
    assert torch.allclose(match(source, target, points[inside], (64, 80)), true[inside], atol=1e-6)


def test_no_points_have_no_matches():
    maps = torch.ones(1, 2, 3, 3)
    assert match(maps, maps, torch.empty(0, 2, dtype=torch.float64), (6, 6)).shape == (0, 2)


def test_features_of_zeros_are_not_matched():
    maps = torch.ones(1, 2, 3, 3)
    maps[..., :2, :] = 0
    assert match(maps, maps, torch.tensor([[5 / 6, 0.5]]), (6, 6))[0, 0] > 2 / 3  # below the two rows of zeros
