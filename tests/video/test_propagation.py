from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from clips import panned

from vitsplice.images.transforms import to_lab
from vitsplice.matching import Correspondence, MatchedImage
from vitsplice.matching.small_spots import SmallSpots
from vitsplice.video.flow import Motion, no_motion
from vitsplice.video.propagation import (
    OWN_COLOURS,
    KeyMotions,
    blended_correspondence,
    blended_start_maps,
    key_motions,
    mean_entropy,
    moved_spots,
    preference,
    sharpened,
)
from vitsplice.video.segments import segments
from vitsplice.video.source import Frame

GRID = (6, 8)
FRAME = torch.full((1, 3, 48, 64), 0.5)
COLOURS = to_lab(FRAME)[0, :, 0, 0].expand(48, 3)


def match(seed=0, spots=None):
    weights = torch.rand(48, 20, generator=torch.Generator().manual_seed(seed)).softmax(1)
    return Correspondence(weights, weights, GRID, (MatchedImage((4, 5), True),), COLOURS, spots)


def shift(right, valid=1.0):
    """Motion to the right by a number of patches."""
    flow = torch.tensor([right / 8, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 48, 64)
    return Motion(flow, torch.full((1, 1, 48, 64), valid))


def on_grid(weights):
    return weights.reshape(*GRID, -1)


def test_weights_move_with_the_motion():
    key = match()
    moved = blended_correspondence(FRAME, key, match(1), KeyMotions(shift(2), no_motion((48, 64)), 0.0), [])
    assert torch.allclose(on_grid(moved.weights)[:, :6], on_grid(key.weights)[:, 2:], atol=1e-5)
    assert torch.allclose(moved.weights.sum(1), torch.ones(48))
    assert moved.others == key.others


def test_weights_are_blended_by_the_distance_in_time():
    first, second = match(0), match(1)
    still = no_motion((48, 64))
    blended = blended_correspondence(FRAME, first, second, KeyMotions(still, still, 0.25), [])
    entropy = torch.lerp(mean_entropy(first.weights), mean_entropy(second.weights), 0.25)
    expected = sharpened(torch.lerp(first.weights, second.weights, 0.25), entropy)
    assert torch.allclose(blended.weights, expected, atol=1e-5)


def test_where_one_motion_cannot_be_trusted_the_weights_of_the_other_key_frame_are_used():
    first, second = match(0), match(1)
    motions = KeyMotions(shift(0, valid=0.0), no_motion((48, 64)), 0.25)
    blended = blended_correspondence(FRAME, first, second, motions, [])
    assert torch.allclose(blended.weights, second.weights, atol=5e-3)


def test_blended_weights_are_sharpened_to_the_entropy_of_the_key_frames_but_never_softened():
    weights = (match(0).weights + match(1).weights + match(2).weights) / 3
    entropy = mean_entropy(match(0).weights)
    assert mean_entropy(weights) > entropy
    assert mean_entropy(sharpened(weights, entropy)) == pytest.approx(float(entropy), rel=5e-3)
    assert torch.allclose(sharpened(weights, mean_entropy(weights) + 1), weights, atol=1e-6)


def test_where_colours_differ_from_those_of_one_key_frame_the_weights_of_the_other_are_used():
    first, second, still = replace(match(0), colours=COLOURS + 0.5), match(1), no_motion((48, 64))
    blended = blended_correspondence(FRAME, first, second, KeyMotions(still, still, 0.25), [])
    assert torch.allclose(blended.weights, second.weights, atol=1e-2)


def test_the_preference_is_strongest_for_the_colours_that_were_matched_where_the_motion_is_trusted():
    patches = torch.arange(48) % 20
    key = replace(match(), weights=F.one_hot(patches, 20).float())
    colours = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    preferred = preference(key, no_motion((48, 64)), colours)
    assert torch.equal(preferred.scores.argmax(1), patches)
    assert preferred.others == key.others
    assert not preference(key, shift(0, valid=0.0), colours).scores.any()


def test_motions_of_a_segment_lead_to_its_key_frames():
    frames = [Frame(number, pixels, number) for number, pixels in enumerate(panned(5, 96, 128, step=3))]
    motions = key_motions(next(segments(frames, 4)))
    rightward = (slice(None), 0, slice(24, -24), slice(24, -24))  # without the border
    assert [each.fraction for each in motions] == [0, 0.25, 0.5, 0.75, 1]
    for number, each in enumerate(motions):
        assert float(each.earlier.flow[rightward].mean()) * 128 == pytest.approx(3 * number, abs=0.5)
        assert float(each.later.flow[rightward].mean()) * 128 == pytest.approx(3 * number - 12, abs=0.5)


def spots_at(*centres, strength):
    values = torch.full((len(centres),), 0.5)
    return SmallSpots(torch.tensor(centres), values, values, values, torch.full((len(centres),), strength))


def test_spots_move_from_frame_to_frame_until_they_are_hidden():
    moved = moved_spots(match(spots=spots_at((3.0, 4.0), strength=1.0)), [shift(1), shift(1), shift(1, valid=0.0)])
    assert [each.centres.tolist() for each in moved[:3]] == [[[3, 4]], [[3, 5]], [[3, 6]]]
    assert [len(each.radii) for each in moved] == [1, 1, 1, 0]


def test_without_a_match_no_frame_has_spots():
    assert moved_spots(None, [shift(1)]) == [None, None]


def test_spots_that_leave_the_frame_are_dropped():
    moved = moved_spots(match(spots=spots_at((3.0, 6.5), strength=1.0)), [shift(1), shift(1), shift(1)])
    assert [len(each.radii) for each in moved] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("later", "centres", "strengths"),
    [
        (spots_at((3.0, 4.2), strength=0.25), [(3.0, 4.05), (1.0, 1.0)], [1.0, 0.75]),
        (spots_at((3.0, 5.0), strength=0.25), [(3.0, 4.0), (1.0, 1.0), (3.0, 5.0)], [0.75, 0.75, 0.25]),
        (spots_at((3.0, 4.2), strength=0.25)[:0], [(3.0, 4.0), (1.0, 1.0)], [0.75, 0.75]),
    ],
    ids=["near", "far", "none"],
)
def test_near_spots_of_both_key_frames_are_joined_and_the_others_keep_their_strength(later, centres, strengths):
    still = no_motion((48, 64))
    spots = [spots_at((3.0, 4.0), (1.0, 1.0), strength=0.75), later]
    joined = blended_correspondence(FRAME, match(), match(), KeyMotions(still, still, 0.25), spots).spots
    torch.testing.assert_close(joined.centres, torch.tensor(centres))
    torch.testing.assert_close(joined.strengths, torch.tensor(strengths))


def start_maps(seed=0):
    """Maps of a warm start, random except that the colours of the frame itself are smooth."""
    maps = torch.rand(1, 8, 48, 64, generator=torch.Generator().manual_seed(seed))
    maps[:, OWN_COLOURS] = torch.linspace(0, 0.2, 64)
    return maps


def test_start_maps_are_fetched_from_a_key_frame_along_the_motion():
    maps = start_maps()
    still = no_motion((48, 64))
    assert torch.allclose(blended_start_maps(maps, maps, start_maps(1), KeyMotions(still, still, 0.0)), maps, atol=1e-5)
    moved = blended_start_maps(maps, maps, start_maps(1), KeyMotions(shift(1), still, 0.0))
    assert torch.allclose(moved[..., :56], maps[..., 8:], atol=1e-5)


def test_start_maps_of_both_key_frames_are_blended_by_the_distance_in_time():
    still = no_motion((48, 64))
    first, second = start_maps(), start_maps(1)
    blended = blended_start_maps(first, first, second, KeyMotions(still, still, 0.25))
    assert torch.allclose(blended, torch.lerp(first, second, 0.25), atol=1e-5)


def test_start_maps_of_the_frame_itself_are_used_where_a_motion_leads_to_other_colours_or_cannot_be_trusted():
    own, key = start_maps(), start_maps(1)
    key[:, OWN_COLOURS] += 0.5
    still, hidden = no_motion((48, 64)), shift(0, valid=0.0)
    assert torch.allclose(blended_start_maps(own, key, key, KeyMotions(still, still, 0.5)), own, atol=1e-3)
    assert torch.allclose(blended_start_maps(own, own, own, KeyMotions(hidden, hidden, 0.5)), own, atol=1e-5)
