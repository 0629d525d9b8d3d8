import math

import pytest
import torch
import torch.nn.functional as F

from tests.conftest import noise
from vitsplice.backbones.inputs import Area
from vitsplice.contracts import Features
from vitsplice.errors import UserError
from vitsplice.images import read_mask
from vitsplice.matching import assignment, correspond, descriptor_requests, join_features, similarity
from vitsplice.matching.assignment import mutual_nearest
from vitsplice.matching.descriptors import on_grid


def test_image_corresponds_to_itself(backbone, pair):
    match = correspond(pair[0], pair[0], backbone, grid=6, balance=0.0)
    assert match.mutual.all()
    assert torch.equal(match.best, torch.arange(len(match.best)))


def test_flipped_image_is_matched_as_its_mirror_image(backbone):
    image = torch.nn.functional.interpolate(noise(1, 3, 6, 6, seed=4), size=(48, 48), mode="nearest")
    plain, flipped = (correspond(image, other, backbone, grid=6, balance=0.0) for other in (image, image.flip(-1)))
    assert (plain.mirrored, flipped.mirrored) == (False, True)
    height, width = plain.grid
    mirrored = (torch.arange(height)[:, None] * width + torch.arange(width).flip(0)).flatten()
    assert torch.equal(flipped.best, mirrored)
    torch.testing.assert_close(flipped.weights[:, mirrored], plain.weights, atol=1e-4, rtol=1e-4)


def test_without_agreement_the_weights_are_those_of_assignment(vit, pair):
    match = correspond(*pair, vit, grid=6, agreement=0.0)
    torch.testing.assert_close(match.weights, assignment(match.similarity))
    assert not torch.allclose(correspond(*pair, vit, grid=6, agreement=1.0).weights, match.weights)


def test_each_image_has_a_grid_of_its_own(vit, pair):
    match = correspond(pair[0], pair[1][..., :24], vit, grid=6)
    assert match.grid[0] < match.grid[1]
    assert match.other_grid[0] > match.other_grid[1]
    assert match.weights.shape == (match.grid[0] * match.grid[1], match.other_grid[0] * match.other_grid[1])


def test_only_patches_inside_the_mask_are_used(vit, pair):
    mask = torch.zeros(1, 1, 40, 48)
    mask[..., :24] = 1
    match = correspond(pair[0], pair[1], vit, grid=6, mask=mask)
    used = match.weights.mean(0).view(match.other_grid)
    assert used[:, match.other_grid[1] // 2 + 1 :].sum() == 0
    inside = match.weights.amax(0) > 0
    assert inside[match.best].all()
    assert match.mutual.sum() == mutual_nearest(match.similarity[:, inside]).sum()


@pytest.mark.parametrize(
    ("mask", "given"),
    [
        (torch.ones(40, 48), r"torch.float32, \(40, 48\)"),
        (torch.ones(1, 3, 40, 48), r"\(1, 3, 40, 48\)"),
        (torch.ones(1, 1, 40, 48, dtype=torch.bool), "torch.bool"),
    ],
)
def test_error_of_an_invalid_mask_names_the_function_that_converts_it(vit, pair, mask, given):
    with pytest.raises(UserError, match=given + ".*read_mask"):
        correspond(*pair, vit, grid=6, mask=mask)
    correspond(*pair, vit, grid=6, mask=read_mask(mask).pixels.mean(1, keepdim=True))


def test_descriptor_requests_depend_on_the_facets_of_the_backbone(vit, cnn):
    assert [str(r) for r in descriptor_requests(vit.info)] == ["key[-3]", "key[-1]", "token[-1]", "value[-3]"]
    assert [str(r) for r in descriptor_requests(cnn.info)] == ["map[-2]", "map[-1]"]


def fine_and_coarse(backbone, image, request, *sides):
    """Normalised features of an image resized to two sides, on the grid of the first, ``(1, 2 * D, h, w)``."""
    maps = [F.normalize(backbone(Area(s)(image, backbone.info), [request])[request].maps, dim=1) for s in sides]
    return torch.cat([maps[0], F.interpolate(maps[1], size=maps[0].shape[-2:], mode="bilinear")], 1)


def test_patches_are_matched_by_the_chosen_features_at_two_resolutions(vit, pair):
    request = vit.info.request("key", 0)
    match = correspond(pair[0], pair[0], vit, grid=6, descriptors=[request])

    descriptors = fine_and_coarse(vit, pair[0], request, 48, 24).flatten(2).mT
    torch.testing.assert_close(match.similarity, similarity(descriptors, descriptors)[0])


def test_descriptors_without_patches_are_refused(vit, pair):
    with pytest.raises(UserError, match=r"cls\[-1\] is global .* local facets of tiny-vit: key"):
        correspond(*pair, vit, grid=6, descriptors=[vit.info.request("cls", -1)])


@pytest.mark.parametrize("grid", [0, -3, math.nan, math.inf])
def test_invalid_grid_is_refused(vit, pair, grid):
    with pytest.raises(UserError, match="grid=.* must be at least 1, and finite"):
        correspond(*pair, vit, grid=grid)


def test_finer_maps_than_the_grid_are_averaged(cnn, pair):
    request = cnn.info.request("map", 0)
    match = correspond(pair[0], pair[0], cnn, grid=4, descriptors=[request])
    assert match.grid == (4, 5)
    assert match.mutual.all()
    finer = fine_and_coarse(cnn, pair[0], request, 64, 32)
    descriptors = F.adaptive_avg_pool2d(finer, (4, 5)).flatten(2).mT
    torch.testing.assert_close(match.similarity, similarity(descriptors, descriptors)[0])


def test_features_are_joined_on_the_finest_grid(cnn, pair):
    requests = descriptor_requests(cnn.info)
    features = cnn(torch.nn.functional.interpolate(pair[0], size=(64, 64)), requests)
    joined = join_features(features, requests)
    assert joined.grid == features[requests[0]].grid
    assert joined.values.shape[-1] == sum(features[request].values.shape[-1] for request in requests)


def test_constant_features_stay_constant_on_another_grid():
    assert on_grid(Features(torch.full((1, 6, 2), 3.0), (2, 3)), (4, 5)).unique().tolist() == [3.0]


def test_similarity_is_a_centred_cosine():
    first, second = noise(1, 5, 8, seed=1) + 10, noise(1, 7, 8, seed=2) + 10
    similarities = similarity(first, second)
    assert similarities.shape == (1, 5, 7)
    assert similarities.abs().max() <= 1 + 1e-6
    assert similarities.min() < 0  # without centring all would be near 1


def test_images_without_batch_dimension_are_accepted(vit, pair):
    expected = correspond(*pair, vit, grid=6).weights
    assert torch.equal(correspond(pair[0][0], pair[1][0], vit, grid=6).weights, expected)


def test_invalid_images_and_backbones_are_refused(vit, pair):
    for wrong, expected in (
        (255 * pair[0], "'first' contains values"),
        (pair[0].movedim(1, -1), "movedim"),
        (torch.cat(pair), "batch of 2"),
    ):
        with pytest.raises(UserError, match=expected):
            correspond(wrong, pair[1], vit, grid=6)
    with pytest.raises(UserError, match=r"vitsplice\.load_backbone\('tiny-vit'\)"):
        correspond(*pair, "tiny-vit")


@pytest.mark.parametrize("agreement", [-1.0, float("nan"), float("inf")])
def test_invalid_agreement_is_refused(vit, pair, agreement):
    with pytest.raises(UserError, match="agreement"):
        correspond(*pair, vit, grid=6, agreement=agreement)
