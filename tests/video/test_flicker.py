import pytest
import torch

from vitsplice.video.flicker import warping_error, without_boundaries
from vitsplice.video.flow import Motion, no_motion

STILL = no_motion((24, 32))


def test_the_error_of_still_frames_is_0():
    image = torch.rand(1, 3, 24, 32)
    assert warping_error(image, image, STILL) == pytest.approx(0, abs=1e-10)


def test_the_error_of_a_constant_difference_is_its_square_summed_over_channels():
    image = torch.rand(1, 3, 24, 32) / 2
    assert warping_error(image, image + 0.1, STILL) == pytest.approx(0.03, rel=1e-4)


def test_the_error_of_content_that_moves_with_the_input_is_0():
    image = torch.rand(1, 3, 24, 36)
    motion = Motion(torch.tensor([-4 / 32, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 24, 32), torch.ones(1, 1, 24, 32))
    motion.valid[..., :5] = 0
    assert warping_error(image[..., :32], image[..., 4:], motion) == pytest.approx(0, abs=1e-9)


def test_the_error_is_none_where_no_motion_is_trusted():
    image = torch.rand(1, 3, 24, 32)
    assert warping_error(image, 1 - image, Motion(STILL.flow, torch.zeros(1, 1, 24, 32))) is None


def test_motion_boundaries_are_excluded():
    flow = torch.zeros(1, 2, 24, 32)
    flow[:, 0, :, 16:] = 5 / 32
    valid = without_boundaries(Motion(flow, torch.ones(1, 1, 24, 32))).valid
    assert not valid[..., 15:17].any()
    assert valid[..., :13].all()
