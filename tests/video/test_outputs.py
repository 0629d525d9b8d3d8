import numpy as np
import pytest
import torch
from clips import panned

from tests.conftest import noise
from vitsplice.video.colours import as_pixels
from vitsplice.video.flow import Motion, no_motion
from vitsplice.video.outputs import Key, changed, frame_by_frame, propagated
from vitsplice.video.propagation import KeyMotions
from vitsplice.video.segments import segments
from vitsplice.video.source import Frame

START = torch.full((1, 3, 32, 48), 0.5)


def key(change):
    """Key frame without a match. Its output is `START` plus ``change``, a tensor or a number."""
    change = torch.as_tensor(change).expand_as(START)
    return Key(None, START + change, change=change)


def shift(right, valid=1.0):
    """Motion that fetches each pixel from ``right`` pixels further right in the other frame."""
    flow = torch.tensor([right / 48, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 32, 48)
    return Motion(flow, torch.full((1, 1, 32, 48), valid))


class IdentityTransfer:
    """Transfer that leaves frames unchanged, and records which frames it matched and which it computed."""

    device, optimises = torch.device("cpu"), False

    def __init__(self):
        self.matched, self.computed = [], []

    def match(self, frame, preference=None):
        self.matched.append(as_pixels(frame))

    def start_maps(self, frame, match):
        return None

    def start(self, frame, match, maps=None):
        self.computed.append(frame)
        return frame


@pytest.mark.parametrize(("count", "key_numbers"), [(1, [0]), (4, [0, 2, 3]), (5, [0, 2, 4]), (6, [0, 2, 4, 5])])
def test_only_every_second_frame_from_the_first_on_and_the_last_of_a_shot_are_matched_as_key_frames(count, key_numbers):
    frames = [Frame(number, pixels, number) for number, pixels in enumerate(panned(count))]
    transfer, outputs, first_key = IdentityTransfer(), [], None
    for segment in segments(frames, 2):
        computed = propagated(transfer, segment, first_key, lambda number: None)
        outputs, first_key = [*outputs, *computed.outputs], computed.following
    key_frames = [frames[number].pixels for number in key_numbers]
    assert all(np.array_equal(*pair) for pair in zip(transfer.matched, key_frames, strict=True))
    assert all(np.array_equal(output, frame.pixels) for output, frame in zip(outputs, frames, strict=True))


@pytest.mark.parametrize(
    ("compute", "reported"),
    [
        (propagated, [0, 1, 1, 3, 3, 5]),  # each key frame is computed before the frame that precedes it
        (frame_by_frame, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_before_each_computation_the_lowest_number_of_a_frame_not_yet_computed_is_reported(compute, reported):
    frames = [Frame(number, pixels, number) for number, pixels in enumerate(panned(6))]
    transfer, reports, first_key = IdentityTransfer(), [], None

    def report(number):
        reports.append((number, len(transfer.computed)))

    for segment in segments(frames, 2):
        first_key = compute(transfer, segment, first_key, report).following
    assert reports == list(zip(reported, range(6), strict=True))


def test_without_changes_of_the_key_frames_the_output_is_the_start():
    unchanged = Key(None, START)
    assert changed(START, unchanged, unchanged, KeyMotions(shift(3), shift(0), 0.5)) is START


def test_a_change_moves_with_the_motion():
    pattern = noise(1, 3, 32, 48) / 2
    output = changed(START, key(pattern), key(0.3), KeyMotions(shift(5), shift(0), 0.0))
    moved = pattern.roll(-5, -1)  # what was 5 px further right
    assert torch.allclose(output[..., :40], (START + moved)[..., :40], atol=1e-5)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0.6), (0.5, 0.7), (0.75, 0.75)])
def test_changes_of_both_key_frames_are_blended_by_the_distance_in_time(fraction, expected):
    still = no_motion((32, 48))
    output = changed(START, key(0.1), key(0.3), KeyMotions(still, still, fraction))
    assert torch.allclose(output, torch.full_like(START, expected), atol=1e-5)


def test_where_one_motion_cannot_be_trusted_the_change_of_the_other_key_frame_is_used():
    output = changed(START, key(0.1), key(0.3), KeyMotions(shift(0, valid=0.0), no_motion((32, 48)), 0.25))
    assert torch.allclose(output, torch.full_like(START, 0.8), atol=1e-5)


def test_where_no_motion_can_be_trusted_there_is_no_change():
    hidden = shift(0, valid=0.0)
    output = changed(START, key(0.1), key(0.3), KeyMotions(hidden, hidden, 0.5))
    assert torch.allclose(output, START, atol=1e-5)
