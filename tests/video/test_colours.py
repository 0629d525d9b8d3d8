import av
import numpy as np
import pytest

from vitsplice.video.colours import FULL_RANGE, LIMITED_RANGE, ColourSpace, from_rgb, to_rgb

NOT_STATED = 0


def grey_frame(name, tones, range_number):
    """Return a frame of 8 x 8 pixels; ``tones``: 8-bit tone of the upper and of the lower half."""
    bits = av.VideoFormat(name, 8, 8).components[0].bits
    values = np.repeat(tones, 4)[:, None].repeat(8, 1) << (bits - 8)
    frame = av.VideoFrame.from_ndarray(values.astype(np.uint8 if bits == 8 else np.uint16), format=name)
    frame.color_range = range_number
    return frame


@pytest.mark.parametrize("name", ["gray", "gray10le", "gray12le", "gray16le", "gray16be"])
def test_grey_frames_of_the_limited_range_are_expanded(name):
    frame = grey_frame(name, [235, 16], LIMITED_RANGE)
    space = ColourSpace.of(frame)
    pixels = to_rgb(frame, space)
    assert (pixels[:4] == 255).all()
    assert (pixels[4:] == 0).all()
    luma = from_rgb(pixels, space, "yuv420p").to_ndarray()
    assert (luma[:4] == 235).all()
    assert (luma[4:8] == 16).all()


@pytest.mark.parametrize("range_number", [FULL_RANGE, NOT_STATED])
def test_other_grey_frames_have_the_full_range(range_number):
    frame = grey_frame("gray", [250, 5], range_number)
    pixels = to_rgb(frame, ColourSpace.of(frame))
    assert (pixels[:4] == 250).all()
    assert (pixels[4:] == 5).all()
