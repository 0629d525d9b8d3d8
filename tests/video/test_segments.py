from itertools import chain

import pytest
from clips import panned, texture

from vitsplice.video.segments import segments
from vitsplice.video.source import Frame


def video(*shots):
    """Frames of shots one after another."""
    return [Frame(index, pixels, index) for index, pixels in enumerate(chain(*shots))]


def described(parts):
    """For each segment: start, end, number of the following key frame, and whether it begins a shot."""
    return [(p.start, p.end, p.following.index if p.following else None, p.after_cut) for p in parts]


def test_a_segment_ends_after_the_maximum_number_of_frames():
    parts = list(segments(video(panned(7)), 3))
    assert described(parts) == [(0, 3, 3, True), (3, 6, 6, False), (6, 7, None, False)]
    assert [len(part.pairs) for part in parts] == [3, 3, 0]


def test_a_cut_begins_a_shot_and_no_segment_has_motion_across_it():
    parts = list(segments(video(panned(4), panned(5, seed=9)), 3))
    assert described(parts) == [(0, 3, 3, True), (3, 4, None, False), (4, 7, 7, True), (7, 9, None, False)]
    assert [len(part.pairs) for part in parts] == [3, 0, 3, 1]


@pytest.mark.parametrize("step", [0, 3, 8])
def test_a_pan_is_no_cut(step):
    assert all(not part.after_cut for part in list(segments(video(panned(6, step=step)), 2))[1:])


def test_a_moderate_change_of_light_is_no_cut():
    image = texture(64, 96).astype(int)
    frames = [(image * (1 - 0.03 * n)).astype("uint8") for n in range(6)]
    assert len(list(segments(video(frames), 10))) == 1


def test_one_frame_is_one_segment():
    assert described(segments(video(panned(1)), 12)) == [(0, 1, None, True)]


def test_a_segment_is_the_same_if_the_frames_before_it_are_not_read():
    frames = video(panned(9))
    part = next(segments(frames[3:], 3, after_cut=False))
    assert described([part]) == described(list(segments(frames, 3))[1:2])


def test_frames_are_read_only_as_far_as_needed():
    taken = []

    def frames():
        for frame in video(panned(40)):
            taken.append(frame.index)
            yield frame

    next(segments(frames(), 4))
    assert max(taken) == 4


def test_a_flash_is_no_cut():
    image = texture(64, 96)
    flash = [image, (image.astype(int) + 60).clip(0, 255).astype("uint8"), image]
    assert not any(part.after_cut for part in list(segments(video(flash), 10))[1:])


def test_a_change_from_black_to_an_image_is_a_cut():
    image = texture(64, 96)
    assert [part.start for part in segments(video([image * 0, image * 0], [image]), 10)] == [0, 2]


def test_fast_motion_has_more_key_frames():
    assert [part.start for part in segments(video(panned(9, step=1)), 8)] == [0, 8]
    assert [part.start for part in segments(video(panned(9, step=8)), 8)][1] < 8
