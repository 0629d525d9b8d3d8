import pytest
import torch

from vitsplice.video.flow import Motion, standing
from vitsplice.video.outputs import Key, changed
from vitsplice.video.propagation import Carried

START = torch.full((1, 3, 32, 48), 0.5)


def key(amount):
    return Key(None, START, torch.full_like(START, amount))


def moved(right, valid=1.0):
    flow = torch.tensor([right / 48, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 32, 48)
    return Motion(flow, torch.full((1, 1, 32, 48), valid))


def test_without_changes_a_frame_is_its_start():
    assert changed(START, Key(None, START), None, Carried(moved(3), None, 0.0)) is START


def test_a_change_moves_with_the_motion():
    pattern = torch.rand(1, 3, 32, 48) / 2
    output = changed(START, Key(None, START, pattern), None, Carried(moved(5), None, 0.0))
    assert torch.allclose(output[..., :40], (START + pattern.roll(-5, -1))[..., :40], atol=1e-5)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0.6), (0.5, 0.7), (0.75, 0.75)])
def test_changes_of_both_key_frames_are_blended_by_the_distance_in_time(fraction, expected):
    still = standing((32, 48))
    output = changed(START, key(0.1), key(0.3), Carried(still, still, fraction))
    assert torch.allclose(output, torch.full_like(START, expected), atol=1e-5)


def test_where_one_motion_cannot_be_trusted_the_other_change_is_used():
    output = changed(START, key(0.1), key(0.3), Carried(moved(0, valid=0.0), standing((32, 48)), 0.25))
    assert torch.allclose(output, torch.full_like(START, 0.8), atol=1e-5)


def test_where_no_motion_can_be_trusted_there_is_no_change():
    hidden = moved(0, valid=0.0)
    output = changed(START, key(0.1), key(0.3), Carried(hidden, hidden, 0.5))
    assert torch.allclose(output, START, atol=1e-5)
