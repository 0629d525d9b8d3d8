import pytest
import torch
from clips import panned, texture

from vitsplice.video import flow
from vitsplice.video.flow import Motion, consistent, motions, no_motion, sample_at, working_image


def shift(right, down=0, size=(32, 48)):
    """Motion of all pixels by the same number of columns and rows."""
    vectors = torch.tensor([right / size[1], down / size[0]]).reshape(1, 2, 1, 1).expand(1, 2, *size)
    return Motion(vectors, torch.ones(1, 1, *size))


def test_motion_of_a_pan_is_its_shift():
    earlier, later = (working_image(frame) for frame in panned(2, 96, 128, step=4))
    backward, forward = motions(earlier, later)
    inner = (..., slice(16, -16), slice(16, -16))
    assert float(backward.flow[:, 0][inner].mean() * 128) == pytest.approx(4, abs=0.3)
    assert float(forward.flow[:, 0][inner].mean() * 128) == pytest.approx(-4, abs=0.3)
    assert float(backward.valid[inner].mean()) > 0.95


def test_motion_of_what_enters_the_frame_is_not_valid():
    earlier, later = (working_image(frame) for frame in panned(2, 96, 128, step=12))
    backward, _ = motions(earlier, later)
    assert backward.valid[..., -6:].mean() < 0.2 < backward.valid[..., 30:90].mean()


def test_composition_adds_shifts_and_multiplies_validity():
    hidden = shift(3)
    hidden.valid[..., :10] = 0
    both = shift(2, 1).then(hidden)
    assert torch.allclose(both.flow[..., 5:-5, 5:-5], shift(5, 1).flow[..., 5:-5, 5:-5], atol=1e-6)
    assert not both.valid[..., :7].any()
    assert both.valid[..., 9:].all()


def test_sampling_along_a_shift_moves_pixels():
    maps = torch.rand(1, 3, 32, 48)
    moved = shift(5, 2).sample(maps)
    assert torch.allclose(moved[..., :30, :43], maps[..., 2:, 5:], atol=1e-5)
    assert torch.allclose(no_motion((32, 48)).sample(maps), maps, atol=1e-6)


def test_a_motion_applies_at_any_resolution():
    maps = torch.rand(1, 1, 64, 96)
    assert torch.allclose(shift(4).sample(maps)[..., :80], maps[..., 8:88], atol=1e-5)
    assert shift(4).resized((8, 12)).flow.shape == (1, 2, 8, 12)


def test_points_move_with_the_motion():
    points, valid = shift(6, 3).track(torch.tensor([[0.5, 0.25]]))
    assert torch.allclose(points, torch.tensor([[0.5 + 3 / 32, 0.25 + 6 / 48]]))
    assert valid.tolist() == [1.0]


def test_flows_that_disagree_are_not_consistent():
    there, back = torch.full((1, 2, 20, 30), 3.0), torch.full((1, 2, 20, 30), -3.0)
    assert consistent(there, back)[..., :15, :25].all()  # where the motion stays within the frame
    assert not consistent(there, there).any()


def test_flow_is_computed_with_one_thread_of_opencv(monkeypatch):
    import cv2

    threads = []

    def counted(first, second):
        threads.append(cv2.getNumThreads())
        return no_motion(first.shape).flow

    monkeypatch.setattr(flow, "_flow", counted)
    earlier, later = (working_image(frame) for frame in panned(2, 96, 128, step=3))
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        motions(earlier, later)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
    assert threads == [1, 1]


def test_large_frames_are_reduced_and_small_ones_enlarged():
    assert working_image(texture(600, 1024)).shape == (300, 512)
    assert min(working_image(texture(16, 40)).shape) == 32


def test_sampling_repeats_the_border():
    maps = torch.arange(8.0).reshape(1, 1, 1, 8)
    assert sample_at(maps, torch.full((1, 2, 1, 8), 1.0)).flatten().tolist() == [7.0] * 8
