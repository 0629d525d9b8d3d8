from dataclasses import replace

import pytest
import torch

from tests.conftest import noise
from vitsplice.engine.stack import AppearanceImage
from vitsplice.engine.warm_start import warm_start
from vitsplice.images.transforms import to_lab
from vitsplice.matching import Correspondence, MatchedImage
from vitsplice.matching.small_spots import (
    DARK,
    MARGIN,
    conspicuous_patches,
    darken_spots,
    find_small_spots,
    shared_spots,
)

GRID, PATCH = (12, 15), 12
FUR, EYE = 0.4, 0.1
EYES = ((5.3, 4.6), (5.4, 9.2))


def pixels_within(radius, centre):
    """Pixels of a disc given in patches, ``(H, W)`` bool."""
    down, across = (
        (torch.arange(side * PATCH) + 0.5) / PATCH - middle for side, middle in zip(GRID, centre, strict=True)
    )
    return torch.hypot(down[:, None], across) <= radius


def face(radius=0.5, eyes=EYES, fur=FUR, eye=EYE):
    """Lab / 100 of grey fur with little noise and discs, ``(1, 3, H, W)``."""
    light = fur + 0.02 * (noise(1, *(side * PATCH for side in GRID))[0] - 0.5)
    for centre in eyes:
        light[pixels_within(radius, centre)] = eye
    return torch.stack([light, *torch.zeros(2, *light.shape)])[None]


def spots_of(lab):
    return find_small_spots(lab, GRID)


@pytest.mark.parametrize("radius", [0.4, 0.6, 0.8, 1.0])
def test_small_dark_discs_are_found_at_their_centres(radius):
    spots = spots_of(face(radius)).conspicuous(0.7, 0.15)
    order = spots.centres[:, 1].argsort()
    torch.testing.assert_close(spots.centres[order], torch.tensor(EYES), atol=0.2, rtol=0)
    assert (spots.radii - radius).abs().max() < 0.3


def test_eye_between_nose_and_dark_fur_is_found():
    lab = face(fur=0.15, eye=0.05)
    lab[:, :1, :, 5 * PATCH : 8 * PATCH] += 0.3
    assert len(spots_of(lab).radii) == 2


@pytest.mark.parametrize(
    "lab",
    [
        pytest.param(face(eyes=()), id="no spot"),
        pytest.param(face(eye=0.8), id="light spots"),
        pytest.param(face(eyes=((0.2, 4.0),)), id="at the border of the image"),
        pytest.param(face(radius=3.0, eyes=((6.0, 7.0),)), id="large spot"),
        pytest.param(face(eyes=[(row / 4, 7.0) for row in range(48)]), id="stripe"),
    ],
)
def test_what_is_no_small_dark_spot_is_not_found(lab):
    assert not len(spots_of(lab).radii)


def scores_of(*matching):
    """Scores of all pairs of patches: 0.6 for those given, else 0.5."""
    scores = torch.full((GRID[0] * GRID[1],) * 2, 0.5)
    for row, column in matching:
        scores[row, column] = 0.6
    return scores


def shared(spots, others, scores):
    return shared_spots(spots, conspicuous_patches(others, GRID), scores, GRID)


def test_spots_that_match_spots_are_shared():
    spots = spots_of(face())
    first, second = spots.patches(GRID).tolist()
    kept = shared(spots, spots, scores_of((first, second), (second, 0)))
    assert kept.patches(GRID).tolist() == [first]
    assert kept.strengths.tolist() == [1]


def test_spot_that_matches_no_spot_is_not_shared():
    spots = spots_of(face())
    best_elsewhere = scores_of(*((patch, 0) for patch in spots.patches(GRID).tolist()))
    assert not len(shared(spots, spots, best_elsewhere).radii)


def test_spot_whose_match_is_better_matched_elsewhere_is_not_shared():
    spots = spots_of(face())
    best_elsewhere = scores_of(*((0, patch) for patch in spots.patches(GRID).tolist()))
    assert not len(shared(spots, spots, best_elsewhere).radii)


def test_strength_decreases_with_the_difference_from_the_best_score():
    spots = spots_of(face())
    scores = scores_of()
    scores[spots.patches(GRID)[0], 0] = 0.5 + sum(MARGIN) / 2
    strengths = shared(spots, spots, scores).strengths
    torch.testing.assert_close(strengths, torch.tensor([0.5, 1.0]), atol=1e-3, rtol=0)


def test_many_spots_are_a_pattern_and_none_is_shared():
    few, many = (
        spots_of(face(0.4, [(row, column) for row in (4.0, 6.5) for column in range(3, 3 + 2 * count, 2)]))
        for count in (4, 5)
    )
    assert len(shared(few, few, scores_of()).radii) == 8
    assert len(many.radii) == 10
    assert not len(shared(many, many, scores_of()).radii)


def test_images_without_spots_share_none():
    none, some = spots_of(face(eyes=())), spots_of(face())
    for spots, others in ((none, some), (some, none)):
        assert not len(shared(spots, others, scores_of()).radii)


def test_spot_that_vanished_becomes_darker_than_its_ring_by_the_square_of_the_ratio():
    own, output = face(), face(eyes=(), fur=0.9)
    darkened = darken_spots(output, own, spots_of(own), GRID)
    for centre in EYES:
        light = darkened[0, 0][pixels_within(0.4, centre)].mean()
        assert light == pytest.approx(0.9 * ((EYE + DARK) / (FUR + DARK)) ** 2, abs=0.03)
    outside = ~torch.stack([pixels_within(1.3, centre) for centre in EYES]).any(0)
    torch.testing.assert_close(darkened[..., outside], output[..., outside])


def test_noise_of_a_dark_image_does_not_become_dots():
    own, output, disc = (
        each.repeat_interleave(4, -2).repeat_interleave(4, -1)
        for each in (face(), face(eyes=(), fur=0.9), pixels_within(0.4, EYES[0]))
    )
    noisy = own.clone()
    noisy[0, 0] += 0.3 * EYE * torch.randn(own.shape[-2:], generator=torch.Generator().manual_seed(0))
    clean, dotted = (darken_spots(output, each, spots_of(face()), GRID)[0, 0] for each in (own, noisy))
    unblurred = 0.9 * ((noisy[0, 0].clamp(min=0) + DARK) / (FUR + DARK)) ** 2
    assert (dotted - clean)[disc].std() < 0.3 * unblurred[disc].std()


def test_spot_of_strength_0_or_that_is_still_dark_stays_to_the_byte():
    own, spots = face(), spots_of(face())
    faded, dark = face(eyes=(), fur=0.9), face(fur=0.9, eye=0.3)
    assert torch.equal(darken_spots(faded, own, replace(spots, strengths=torch.zeros(2)), GRID), faded)
    assert torch.equal(darken_spots(dark, own, spots, GRID), dark)


def test_darkening_does_not_depend_on_the_size_of_the_image():
    own, output = face(), face(eyes=(), fur=0.9)
    spots = spots_of(own)
    twice = [maps.repeat_interleave(2, 2).repeat_interleave(2, 3) for maps in (output, own)]
    small, large = darken_spots(output, own, spots, GRID), darken_spots(*twice, spots, GRID)
    assert (small - large[..., ::2, ::2])[:, 0].abs().mean() < 0.002


def test_warm_start_keeps_eyes_that_are_smaller_than_a_patch():
    structure = face()[:, :1].expand(1, 3, -1, -1)
    appearance, weights = torch.full((1, 3, 16, 32), 0.9), torch.ones(GRID[0] * GRID[1], 1)
    spots = spots_of(to_lab(structure))
    match = Correspondence(weights, weights, GRID, (MatchedImage((1, 1)),), spots=spots)
    output = warm_start(structure, [AppearanceImage(appearance)], match)
    for centre in EYES:
        assert output[..., pixels_within(0.4, centre)].mean() < 0.3 < 0.8 < output.median()
