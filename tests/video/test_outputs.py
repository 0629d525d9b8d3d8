import numpy as np
import pytest
import torch
from clips import panned

from vitsplice.video.colours import as_pixels
from vitsplice.video.flow import Motion, no_motion
from vitsplice.video.outputs import Key, changed, frame_by_frame, propagated
from vitsplice.video.propagation import KeyMotions
from vitsplice.video.segments import segments
from vitsplice.video.source import Frame

START = torch.full((1, 3, 32, 48), 0.5)


def key(amount):
    return Key(None, START, change=torch.full_like(START, amount))


def moved(right, valid=1.0):
    flow = torch.tensor([right / 48, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 32, 48)
    return Motion(flow, torch.full((1, 1, 32, 48), valid))


class UnchangedFrames:
    """A transfer whose outputs are the frames; it lists the frames that it matches and those that it computes."""

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


@pytest.mark.parametrize(("count", "matched"), [(1, [0]), (4, [0, 2, 3]), (5, [0, 2, 4]), (6, [0, 2, 4, 5])])
def test_key_frames_are_at_both_ends_of_a_shot_and_in_between(count, matched):
    frames = [Frame(number, pixels, number) for number, pixels in enumerate(panned(count))]
    transfer, outputs, first = UnchangedFrames(), [], None
    for segment in segments(frames, 2):
        part = propagated(transfer, segment, first, lambda index: None)
        outputs, first = [*outputs, *part.outputs], part.following
    assert all(np.array_equal(transfer.matched[n], frames[index].pixels) for n, index in enumerate(matched))
    assert len(transfer.matched) == len(matched)
    assert all(np.array_equal(output, frame.pixels) for output, frame in zip(outputs, frames, strict=True))


@pytest.mark.parametrize("compute", [propagated, frame_by_frame])
def test_each_frame_is_reported_before_it_is_computed(compute):
    frames = [Frame(number, pixels, number) for number, pixels in enumerate(panned(6))]
    transfer, reports, first = UnchangedFrames(), [], None
    for segment in segments(frames, 2):
        first = compute(
            transfer, segment, first, lambda index: reports.append((index, len(transfer.computed)))
        ).following
    assert [computed for _, computed in reports] == list(range(6))
    assert [index for index, _ in reports] == ([0, 1, 1, 3, 3, 5] if compute is propagated else list(range(6)))


def test_without_changes_a_frame_is_its_start():
    unchanged = Key(None, START)
    assert changed(START, unchanged, unchanged, KeyMotions(moved(3), moved(0), 0.5)) is START


def test_a_change_moves_with_the_motion():
    pattern = torch.rand(1, 3, 32, 48) / 2
    output = changed(START, Key(None, START, change=pattern), key(0.3), KeyMotions(moved(5), moved(0), 0.0))
    assert torch.allclose(output[..., :40], (START + pattern.roll(-5, -1))[..., :40], atol=1e-5)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0.6), (0.5, 0.7), (0.75, 0.75)])
def test_changes_of_both_key_frames_are_blended_by_the_distance_in_time(fraction, expected):
    still = no_motion((32, 48))
    output = changed(START, key(0.1), key(0.3), KeyMotions(still, still, fraction))
    assert torch.allclose(output, torch.full_like(START, expected), atol=1e-5)


def test_where_one_motion_cannot_be_trusted_the_other_change_is_used():
    output = changed(START, key(0.1), key(0.3), KeyMotions(moved(0, valid=0.0), no_motion((32, 48)), 0.25))
    assert torch.allclose(output, torch.full_like(START, 0.8), atol=1e-5)


def test_where_no_motion_can_be_trusted_there_is_no_change():
    hidden = moved(0, valid=0.0)
    output = changed(START, key(0.1), key(0.3), KeyMotions(hidden, hidden, 0.5))
    assert torch.allclose(output, START, atol=1e-5)
