import pytest
import torch

from tests.conftest import noise
from tests.matching.test_guide import colours_of
from vitsplice.errors import UserError
from vitsplice.matching import (
    Candidate,
    Description,
    MatchedImage,
    Preference,
    describe_image,
    match_candidates,
    match_descriptions,
    match_vectors,
)
from vitsplice.matching.guide import guide
from vitsplice.matching.small_spots import SmallSpots

GRID = 6
IMAGES = [torch.nn.functional.interpolate(noise(1, 3, 6, 6, seed=seed), size=(48, 48)) for seed in (4, 5, 6)]


@pytest.fixture(scope="module")
def described(vit):
    first, *others = (describe_image(image, vit, GRID, mirror=True) for image in (IMAGES[0], *IMAGES))
    return first, others


@pytest.mark.parametrize("agreement", [0.0, 0.25])
def test_match_with_one_candidate_equals_match_descriptions(described, agreement):
    first, (_, other, _) = described
    match = match_candidates(first, [Candidate(other)], agreement=agreement)
    plain = match_descriptions(first, other, agreement=agreement)
    assert torch.equal(match.weights, plain.weights)
    assert match.others == plain.others


@pytest.mark.parametrize("agreement", [0.0, 0.25])
def test_an_image_given_twice_counts_as_one(described, agreement):
    first, (_, other, _) = described
    plain = match_descriptions(first, other, agreement=agreement)
    twice = match_candidates(first, [Candidate(other)] * 2, agreement=agreement)
    torch.testing.assert_close(sum(twice.weights.chunk(2, 1)), plain.weights, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(twice.shares, torch.full_like(twice.shares, 0.5))


def test_shares_of_equal_images_are_proportional_to_the_weights_of_their_candidates(described):
    first, (_, other, _) = described
    match = match_candidates(first, [Candidate(other, weight=3.0), Candidate(other)], balance=0.0)
    torch.testing.assert_close(match.shares[:, 0], torch.full_like(match.shares[:, 0], 0.75))


def test_order_of_the_images_does_not_matter(described):
    first, (_, second, third) = described
    candidates = [Candidate(second), Candidate(third)]
    shares, swapped = (match_candidates(first, each).shares for each in (candidates, candidates[::-1]))
    torch.testing.assert_close(shares, swapped.flip(1), atol=1e-4, rtol=1e-3)


def test_patches_match_the_image_that_they_resemble(described):
    first, (same, other, _) = described
    match = match_candidates(first, [Candidate(other), Candidate(same)], balance=0.0)
    assert match.shares[:, 1].mean() > 0.9
    assert torch.equal(match.best, torch.arange(36) + 36)  # the patches of the second candidate


def test_each_image_has_its_own_mask(described):
    first, (_, second, third) = described
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., :24] = 1
    match = match_candidates(first, [Candidate(second), Candidate(third, mask)])
    used = match.weights.mean(0)[36:].view(6, 6)
    assert used[:, 3:].sum() == 0 < used[:, :3].sum()


def test_dot_products_of_vectors_are_the_guide_of_each_of_several_images(described):
    first, others = described
    match = match_candidates(first, [Candidate(other) for other in others])
    vectors = match_vectors(match, *IMAGES)
    assert vectors.appearance.shape[0] == 3
    alone = match_vectors(match_descriptions(first, others[0]), IMAGES[0])
    assert vectors.appearance.shape[-2:] == alone.appearance.shape[-2:]
    products = [vectors.structure.flatten(2)[0].T @ own.flatten(1) for own in vectors.appearance]
    values = guide(match, torch.cat([colours_of(image, (GRID, GRID)) for image in IMAGES]))
    torch.testing.assert_close(torch.cat(products, 1), values, atol=1e-5, rtol=0)


def test_other_grid_of_a_match_with_several_images_is_refused(described):
    first, others = described
    match = match_candidates(first, [Candidate(other) for other in others])
    assert [other.grid for other in match.others] == [(6, 6)] * 3
    with pytest.raises(UserError, match="has 3 other images, not one"):
        _ = match.other_grid


def test_preferred_matches_prevail_and_the_preference_decides_on_mirroring(described):
    first, (_, second, _) = described
    free = match_candidates(first, [Candidate(second)], agreement=0)
    preferred = (free.weights.argmax(1) + 1) % free.weights.shape[1]
    scores = torch.nn.functional.one_hot(preferred, free.weights.shape[1]).float()
    for mirrored in (False, True):
        preference = Preference(2 * scores, (MatchedImage(second.grid, mirrored),))
        for agreement in (0, 0.25):
            match = match_candidates(first, [Candidate(second)], agreement=agreement, preference=preference)
            assert (match.weights.argmax(1) == preferred).float().mean() > 0.9
            assert match.mirrored == mirrored


@pytest.mark.parametrize("mirrored", [False, True])
def test_excluded_patches_do_not_decide_whether_an_image_is_mirrored(described, vit, mirrored):
    """The mask includes one quadrant of the second image; the other three show its mirror image."""
    included = IMAGES[0].flip(-1) if mirrored else IMAGES[0]
    excluded = included.flip(-1)
    rows = [torch.cat(row, -1) for row in ((included, excluded), (excluded, excluded))]
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., :48, :48] = 1
    second = describe_image(torch.cat(rows, -2), vit, 2 * GRID, mirror=True)
    assert match_candidates(described[0], [Candidate(second, mask)]).mirrored is mirrored


def test_spots_that_the_mask_excludes_are_not_shared():
    centres = torch.tensor([[0.5, 0.5], [0.5, 2.5]])
    radii, ratios, contrasts, strengths = torch.tensor([0.5, 1.0, 0.3, 1.0])[:, None].expand(-1, 2)
    spots = SmallSpots(centres, radii, ratios, contrasts, strengths)
    image = Description(torch.eye(16)[None], None, noise(16, 3), (4, 4), spots)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 2:] = 1
    everywhere, inside = (match_descriptions(image, image, mask=each).spots for each in (None, mask))
    assert everywhere.patches((4, 4)).tolist() == [0, 2]
    assert inside.patches((4, 4)).tolist() == [2]


@pytest.mark.parametrize("weight", [0, -1.0, float("inf"), float("nan")])
def test_weights_out_of_range_are_refused(described, weight):
    first, (_, other, _) = described
    with pytest.raises(UserError, match=f"weight={weight} of a candidate is not allowed; it must be above 0"):
        match_candidates(first, [Candidate(other), Candidate(other, weight=weight)])


def test_empty_list_of_candidates_is_refused(described):
    with pytest.raises(UserError, match="no candidate; give one or more images"):
        match_candidates(described[0], [])


@pytest.mark.parametrize(
    ("value", "message"), [(255.0, "divide by 255"), (-1.0, "from -1 to 0;"), (float("nan"), "'mask' contains NaN")]
)
def test_masks_out_of_range_are_refused(described, value, message):
    first, (_, other, _) = described
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., :9] = value
    with pytest.raises(UserError, match=message):
        match_candidates(first, [Candidate(other, mask)])
