import pytest
import torch

from tests.conftest import noise
from vitsplice.contracts import Features
from vitsplice.errors import UserError
from vitsplice.matching import assignment, correspond, descriptor_requests, joined, similarity
from vitsplice.matching.descriptors import on_grid


def test_a_image_corresponds_to_itself(backbone, pair):
    found = correspond(pair[0], pair[0], backbone, grid=6, balance=0.0)
    assert found.mutual.all()
    assert torch.equal(found.best, torch.arange(len(found.best)))


def test_a_flipped_image_is_matched_as_its_mirror_image(backbone):
    image = torch.nn.functional.interpolate(noise(1, 3, 6, 6, seed=4), size=(48, 48), mode="nearest")
    plain, turned = (correspond(image, other, backbone, grid=6, balance=0.0) for other in (image, image.flip(-1)))
    assert (plain.mirrored, turned.mirrored) == (False, True)
    height, width = plain.grid
    mirrored = (torch.arange(height)[:, None] * width + torch.arange(width).flip(0)).flatten()
    assert torch.equal(turned.best, mirrored)
    torch.testing.assert_close(turned.weights[:, mirrored], plain.weights, atol=1e-4, rtol=1e-4)


def test_without_agreement_each_place_is_matched_by_itself(vit, pair):
    found = correspond(*pair, vit, grid=6, agreement=0.0)
    torch.testing.assert_close(found.weights, assignment(found.similarity))
    assert not torch.allclose(correspond(*pair, vit, grid=6, agreement=1.0).weights, found.weights)


def test_the_grids_are_each_image_s_own(vit, pair):
    found = correspond(pair[0], pair[1][..., :24], vit, grid=6)
    assert found.grid[0] < found.grid[1]
    assert found.other_grid[0] > found.other_grid[1]
    assert found.weights.shape == (found.grid[0] * found.grid[1], found.other_grid[0] * found.other_grid[1])


def test_a_mask_keeps_to_its_part(vit, pair):
    mask = torch.zeros(1, 1, 40, 48)
    mask[..., :24] = 1
    found = correspond(pair[0], pair[1], vit, grid=6, mask=mask)
    used = found.weights.mean(0).view(found.other_grid)
    assert used[:, found.other_grid[1] // 2 + 1 :].sum() == 0


def test_descriptors_are_asked_for_by_what_the_backbone_has(vit, cnn):
    assert [str(r) for r in descriptor_requests(vit.info)] == ["key[-3]", "key[-1]", "token[-1]", "value[-3]"]
    assert [str(r) for r in descriptor_requests(cnn.info)] == ["map[-2]", "map[-1]"]


def test_features_of_several_grids_are_joined_on_the_finest(cnn, pair):
    requests = descriptor_requests(cnn.info)
    found = cnn(torch.nn.functional.interpolate(pair[0], size=(64, 64)), requests)
    both = joined(found, requests)
    assert both.grid == found[requests[0]].grid
    assert both.values.shape[-1] == sum(found[request].values.shape[-1] for request in requests)


def test_a_constant_stays_one_on_another_grid():
    assert on_grid(Features(torch.full((1, 6, 2), 3.0), (2, 3)), (4, 5)).unique().tolist() == [3.0]


def test_similarity_is_a_cosine_around_the_common_centre():
    first, second = noise(1, 5, 8, seed=1) + 10, noise(1, 7, 8, seed=2) + 10
    found = similarity(first, second)
    assert found.shape == (1, 5, 7)
    assert found.abs().max() <= 1 + 1e-6
    assert found.min() < 0  # without the centre all would be near 1


def test_images_and_the_backbone_are_checked(vit, pair):
    plain = correspond(*pair, vit, grid=6)
    assert torch.equal(correspond(pair[0][0], pair[1][0], vit, grid=6).weights, plain.weights)
    for wrong, said in (
        (255 * pair[0], "'first' contains values"),
        (pair[0].movedim(1, -1), "movedim"),
        (torch.cat(pair), "batch of 2"),
    ):
        with pytest.raises(UserError, match=said):
            correspond(wrong, pair[1], vit, grid=6)
    with pytest.raises(UserError, match=r"vitsplice\.load_backbone\('tiny-vit'\)"):
        correspond(*pair, "tiny-vit")


@pytest.mark.parametrize("agreement", [-1.0, float("nan"), float("inf")])
def test_agreement_is_not_negative_and_finite(vit, pair, agreement):
    with pytest.raises(UserError, match="agreement"):
        correspond(*pair, vit, grid=6, agreement=agreement)
