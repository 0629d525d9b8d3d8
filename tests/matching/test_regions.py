import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import UserError
from vitsplice.matching import Candidate, MaskedRegion, assignment, describe_image, match_candidates
from vitsplice.matching.assignment import LEAST_TEMPERATURE
from vitsplice.matching.guide import FORBIDDEN, guide
from vitsplice.matching.regions import MatchRegions, match_regions, softmax

GRID = (6, 6)
ALL = torch.ones(36)
IMAGES = [torch.nn.functional.interpolate(noise(1, 3, 6, 6, seed=seed), size=(48, 48)) for seed in (4, 5, 6)]


def half(side, value=1.0):
    """A mask of the left or right half of an image."""
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., slice(0, 24) if side == "left" else slice(24, 48)] = value
    return mask


LEFT, RIGHT = (half(side)[0, 0, ::8, ::8].flatten().bool() for side in ("left", "right"))
"""Patches of each half."""


@pytest.fixture(scope="module")
def described(vit):
    first, *others = (describe_image(image, vit, 6, mirror=True) for image in IMAGES)
    return first, [Candidate(other) for other in others]


def regions_of(*regions, coverages=(ALL, ALL)):
    return match_regions(regions, GRID, [(coverage.float(), GRID) for coverage in coverages])


def test_without_regions_everything_is_permitted():
    assert regions_of() is None


def test_a_region_permits_one_of_the_other_images_and_patches_outside_of_it_may_match_both():
    permitted = regions_of(MaskedRegion(half("left"), 1)).permitted
    assert torch.equal(permitted[LEFT], torch.cat([0.0 * ALL, 1.0 * ALL]).expand(18, -1))
    assert torch.equal(permitted[RIGHT], torch.ones(18, 72))


def test_a_region_may_be_limited_to_a_part_of_the_image():
    permitted = regions_of(MaskedRegion(half("left"), 0, half("right"))).permitted
    assert torch.equal(permitted[LEFT].amax(0), torch.cat([1.0 * RIGHT, 0.0 * ALL]))


def test_a_later_region_lies_over_earlier_ones():
    everywhere = MaskedRegion(torch.ones(1, 1, 48, 48), 0)
    permitted = regions_of(everywhere, MaskedRegion(half("left"), 1)).permitted
    expected = torch.stack([RIGHT, LEFT], 1).float().repeat_interleave(36, 1)
    assert torch.equal(permitted, expected)


def test_regions_with_equal_masks_permit_what_any_of_them_allows():
    whole, right = MaskedRegion(half("left"), 0), MaskedRegion(half("left"), 1, half("right"))
    between = MaskedRegion(half("right"), 0)
    permitted = regions_of(whole, between, right).permitted
    assert torch.equal(permitted[LEFT].amax(0), torch.cat([1.0 * ALL, 1.0 * RIGHT]))
    assert torch.equal(permitted, regions_of(right, between, whole).permitted)


def columns(*spans, height=48, width=48):
    """A mask of some columns of an image."""
    mask = torch.zeros(1, 1, height, width)
    for start, end in spans:
        mask[..., start:end] = 1
    return mask


def test_regions_that_meet_within_a_patch_leave_nothing_uncovered():
    spans = [(0, 20), (20, 22), (22, 48)]
    limits = regions_of(*(MaskedRegion(columns(span), 0) for span in spans))
    assert limits.shares[:, 2].tolist() == [0.25, 0.25, 0.5, 0.0]
    assert not limits.permitted[:, 36:].any()


def test_regions_of_equal_area_within_a_patch_are_not_one_region():
    striped = [columns(*((8 * patch + start, 8 * patch + start + 4) for patch in range(6))) for start in (0, 4)]
    shares = regions_of(*(MaskedRegion(mask, number) for number, mask in enumerate(striped))).shares
    assert torch.equal(shares, torch.tensor([[0.5], [0.5], [0.0]]).expand(3, 36))


def test_masks_of_different_sizes_are_laid_over_each_other():
    small, large = columns((0, 10), height=24, width=24), columns((20, 48))
    assert regions_of(MaskedRegion(small, 0), MaskedRegion(large, 1)).shares[:, 2].tolist() == [0.5, 0.5, 0.0]


def test_grey_regions_mix_what_is_permitted():
    limits = regions_of(MaskedRegion(half("left", 0.25), 1))
    weights = softmax(torch.zeros(36, 72), limits)
    torch.testing.assert_close(weights[LEFT, 36:].sum(1), torch.full((18,), 0.25 + 0.75 / 2))
    torch.testing.assert_close(weights.sum(1), torch.ones(36))


def test_a_thin_region_may_be_matched_although_the_mask_of_its_image_covers_little_of_its_patches():
    thin = columns((32, 34))  # a quarter of the patches of the fifth column
    coverage = torch.where(LEFT, 1.0, 0.25)
    allowed = regions_of(MaskedRegion(half("left"), 0, thin), coverages=(coverage, ALL)).allowed
    assert allowed[0, :36].reshape(GRID)[:, 4].all()
    assert allowed[0].sum() == 6
    assert torch.equal(allowed[1], torch.cat([LEFT, ALL.bool()]))


def test_a_thin_region_is_matched_beside_a_region_that_covers_its_patches(described):
    first, (one, other) = described
    thin = columns((32, 34))
    candidates = [Candidate(one.description, half("left") + thin), other]
    regions = [MaskedRegion(half("left"), 0, half("left")), MaskedRegion(half("right"), 0, thin)]
    weights = match_candidates(first, candidates, regions=regions).weights
    torch.testing.assert_close(weights[RIGHT][:, 4:36:6].sum(1), torch.ones(18))


def test_a_region_without_a_usable_patch_is_refused():
    with pytest.raises(UserError, match="excludes every patch"):
        regions_of(MaskedRegion(half("left"), 0, half("left")), coverages=(RIGHT, ALL))


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (MaskedRegion(255 * half("left"), 0), "'mask' contains values from 0 to 255"),
        (MaskedRegion(half("left"), 0, 255 * half("right")), "'mask' contains values from 0 to 255"),
        (MaskedRegion(half("left")[0], 0), r"a mask must be .* \(1, 48, 48\)"),
        (MaskedRegion(half("left")[:, :, :0], 0), r"a mask must be .* \(1, 1, 0, 48\)"),
        (MaskedRegion(half("left"), 2), "other=2 of a region .* must be 0 to 1"),
        (MaskedRegion(half("left"), -1), "other=-1 of a region"),
    ],
)
def test_invalid_regions_are_refused(region, message):
    with pytest.raises(UserError, match=message):
        regions_of(region)


@pytest.mark.parametrize("agreement", [0.0, 0.25])
def test_matches_are_restricted_exactly(described, agreement):
    first, candidates = described
    regions = [MaskedRegion(half("left"), 1, half("right")), MaskedRegion(half("right"), 0)]
    match = match_candidates(first, candidates, agreement=agreement, regions=regions)
    torch.testing.assert_close(match.weights.sum(1), torch.ones(36))
    torch.testing.assert_close(match.shares, torch.stack([RIGHT, LEFT], 1).to(match.shares))
    assert match.weights[LEFT][:, 36:][:, LEFT].sum() == 0
    assert match.weights[RIGHT][:, 36:].sum() == 0
    assert torch.equal(match.best >= 36, LEFT)


def test_balance_equalises_the_use_of_the_patches_that_regions_permit():
    halves = [MaskedRegion(half("left"), 0), MaskedRegion(half("right"), 1, half("right"))]
    limits = regions_of(*halves)
    weights = assignment(noise(36, 72), 0.1, 1.0, None, limits)
    usage = weights.sum(0)
    torch.testing.assert_close(usage[:36], torch.full((36,), 0.5), atol=0.03, rtol=0)
    torch.testing.assert_close(usage[36:][RIGHT], torch.ones(18), atol=0.03, rtol=0)
    assert usage[36:][LEFT].max() == 0


@pytest.mark.parametrize("temperature", [LEAST_TEMPERATURE, 1e-3, 0.1])
def test_one_region_that_allows_everything_is_balanced_as_no_region(temperature):
    everything = MatchRegions(torch.ones(1, 36), torch.ones(1, 72, dtype=torch.bool))
    similarities = 2 * noise(36, 72) - 1
    balanced = [assignment(similarities, temperature, 1.0, None, regions) for regions in (None, everything)]
    torch.testing.assert_close(*balanced, atol=1e-3, rtol=0)


def test_guide_of_forbidden_matches_is_below_that_of_all_others(described):
    first, candidates = described
    match = match_candidates(first, candidates, regions=[MaskedRegion(half("left"), 1)])
    values = guide(match, torch.cat([candidate.description.colours for candidate in candidates]))
    forbidden = match.permitted == 0
    assert values[forbidden].max() <= 1 - FORBIDDEN
    assert values[~forbidden].min() >= -1


def test_the_other_mask_of_a_region_that_covers_everything_acts_as_the_mask_of_the_other_image(described):
    first, candidates = described
    mask = half("left")
    region = MaskedRegion(torch.ones(1, 1, 48, 48), 0, mask)
    limited = match_candidates(first, candidates[:1], regions=[region])
    masked = match_candidates(first, [Candidate(candidates[0].description, mask)])
    torch.testing.assert_close(limited.shares, masked.shares)
    assert limited.weights[:, RIGHT].sum() == masked.weights[:, RIGHT].sum() == 0
