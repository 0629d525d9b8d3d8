from dataclasses import replace

import pytest
import torch

from tests.conftest import noise
from vitsplice.engine.stack import AppearanceImage
from vitsplice.engine.warm_start import _guided, eased, joint_bilateral, warm_start
from vitsplice.images.transforms import to_lab
from vitsplice.matching import Correspondence, MatchedImage, assignment


def halves(left, right, size=96):
    image = torch.zeros(1, 3, size, size)
    image[..., : size // 2] = torch.tensor(left).view(1, 3, 1, 1)
    image[..., size // 2 :] = torch.tensor(right).view(1, 3, 1, 1)
    return (image + 0.04 * (noise(1, 1, size, size) - 0.5)).clamp(0, 1)


def transfer_colours(structure, appearance, match, *strengths, mask=None, **options):
    """The warm start of one appearance image."""
    return warm_start(structure, [AppearanceImage(appearance, mask)], match, *strengths, **options)


@pytest.fixture
def crossed():
    """A structure and an appearance image whose similar halves are on opposite sides, and their correspondence."""
    structure, appearance = halves((0.2, 0.2, 0.2), (0.8, 0.8, 0.8)), halves((0.9, 0.6, 0.1), (0.1, 0.5, 0.2))
    column = torch.arange(64) % 8
    similarity = (column[:, None] // 4 != column[None] // 4).float()
    match = Correspondence(assignment(similarity, balance=0.0), similarity, (8, 8), (MatchedImage((8, 8)),))
    return structure, appearance, match


def test_colours_are_transferred_to_corresponding_patches(crossed):
    structure, appearance, match = crossed
    output = to_lab(transfer_colours(structure, appearance, match))
    expected = to_lab(appearance)
    for ours, theirs in ((slice(0, 40), slice(56, 96)), (slice(56, 96), slice(0, 40))):
        torch.testing.assert_close(
            output[..., ours].mean((0, 2, 3)), expected[..., theirs].mean((0, 2, 3)), atol=0.02, rtol=0
        )


def test_edges_of_the_structure_image_are_preserved(crossed):
    output = to_lab(transfer_colours(*crossed))[:, :1]
    across = output.diff(dim=-1).abs().mean((0, 1, 2))
    assert across.argmax() == 47  # between the halves


def test_strength_interpolates_from_the_structure_image(crossed):
    none, half, full = (transfer_colours(*crossed, strength) for strength in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, crossed[0])
    torch.testing.assert_close(half, (none + full) / 2)


def test_output_of_images_of_different_sizes_has_the_size_of_the_structure_image(crossed):
    structure, appearance, match = crossed
    output = transfer_colours(structure[..., :80, :], appearance[..., :50], match)
    assert output.shape == (1, 3, 80, 96)
    assert 0 <= output.min() <= output.max() <= 1


def test_pixel_takes_the_value_of_the_near_patch_of_its_colour():
    """Two patches side by side, dark and light; the border of the pixels lies well within the first patch."""
    lab = torch.zeros(1, 3, 20, 40)
    lab[:, 0, :, 14:] = 0.8
    mean = torch.tensor([[0.0, 0.0, 0.0], [0.8, 0.0, 0.0]])
    chosen = joint_bilateral(torch.tensor([[3.0], [7.0]]), mean, (1, 2), lab)
    torch.testing.assert_close(chosen[..., :14], torch.full((1, 1, 20, 14), 3.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(chosen[..., 14:], torch.full((1, 1, 20, 26), 7.0), atol=1e-3, rtol=0)


def test_values_are_means_of_patch_values_even_for_a_distant_colour():
    values = noise(12, 2)
    chosen = joint_bilateral(values, noise(12, 3), (3, 4), torch.full((1, 3, 9, 16), 50.0))
    assert chosen.shape == (1, 2, 9, 16)
    assert values.min() <= chosen.min() <= chosen.max() <= values.max()


@pytest.mark.parametrize("size", [(16, 512), (512, 16), (16, 90), (17, 16)])
def test_warm_start_of_a_thin_image_is_finite(size):
    structure, appearance = noise(1, 3, *size), noise(1, 3, 40, 40, seed=1)
    grid = (1, 2) if size[1] > size[0] else (2, 1)
    match = Correspondence(assignment(noise(2, 4)), noise(2, 4), grid, (MatchedImage((2, 2)),))
    output = transfer_colours(structure, appearance, match)
    assert output.shape == structure.shape
    assert output.isfinite().all()


def test_strength_above_one_increases_the_spread_of_colours(crossed):
    spreads = [to_lab(transfer_colours(*crossed, strength)).std((2, 3)).norm() for strength in (0.5, 1.0, 1.5, 4.0)]
    assert spreads[1] < spreads[2] < spreads[3]


@pytest.mark.slow
def test_detail_strength_increases_fine_detail_up_to_a_bound(crossed):
    fine = [
        float(transfer_colours(*crossed, detail_strength=strength)[..., 10:86, 8:32].diff(dim=-1).abs().mean())
        for strength in (0.0, 0.5, 1.0, 2.0, 10.0)
    ]
    assert fine == sorted(fine)
    assert fine[0] < 0.1 * fine[2]
    assert fine[4] < 2 * fine[2]


def waves(amplitude, noise_width):
    """A grey image with four horizontal waves of an amplitude, and noise that is uniform over a width."""
    rows = torch.linspace(0, 8 * torch.pi, 96).sin()[:, None]
    return (0.5 + amplitude * rows + noise_width * (noise(1, 1, 96, 96) - 0.5)).expand(1, 3, 96, 96)


@pytest.mark.parametrize(("noise_width", "low", "high"), [(0.0, 1.0, 1.5), (0.5, 2.0, 3.0)])
def test_fine_detail_is_amplified_only_if_the_match_has_it(noise_width, low, high):
    structure, appearance = waves(0.02, 0.06), waves(0.2, noise_width)
    match = Correspondence(torch.eye(16), torch.eye(16), (4, 4), (MatchedImage((4, 4)),))
    before, after = (to_lab(image)[:, 0] for image in (structure, transfer_colours(structure, appearance, match)))
    coarse = [float(lab.mean(-1).std()) for lab in (before, after)]
    fine = [float(lab.diff(dim=-1).std()) for lab in (before, after)]
    assert coarse[1] > 2 * coarse[0]
    assert low * fine[0] < fine[1] < high * fine[0]


def test_eased_is_smooth_at_one_and_stays_below_two():
    assert [eased(strength) for strength in (0.0, 0.5, 1.0, 2.0)] == [0.0, 0.5, 1.0, 1.5]
    assert eased(1.001) == pytest.approx(1.001, abs=1e-5)
    assert eased(1e9) < 2.0000001


def test_colours_outside_the_appearance_mask_do_not_affect_the_warm_start(crossed):
    structure, appearance, match = crossed
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., 3:7, :] = 1
    mask[..., 90:93, :] = 1  # less than a patch, and not in every patch
    changed = torch.where(mask > 0, appearance, torch.zeros(()))
    weights = match.weights.view(64, 8, 8).clone()
    weights[:, 1:7] = 0
    match = replace(match, weights=(weights / weights.sum((1, 2), keepdim=True)).view(64, 64))
    outputs = [transfer_colours(structure, image, match, mask=mask) for image in (appearance, changed)]
    torch.testing.assert_close(*outputs, atol=0.02, rtol=0)
    assert (transfer_colours(structure, changed, match) - outputs[0]).abs().max() > 0.2


@pytest.mark.parametrize("radius", range(2, 16))
def test_guided_filter_does_not_shift_values(radius):
    ramp = torch.arange(192.0)[None, None, None].expand(1, 1, 64, -1)
    shift = (_guided(torch.full((1, 3, 64, 192), 0.5), ramp, radius) - ramp)[..., 64:-64]
    assert shift.abs().max() < radius / 8  # half a pixel of the subsampled image: it is subsampled by about radius / 4
