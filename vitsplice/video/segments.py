"""Division of a video into segments: the frames from one key frame to the next.

The first and the last frame of a shot are key frames. In between, the next key frame follows after a fixed number of
frames, or earlier where the motion since the last key frame can be trusted in too small a part of the frame. Only the
frames of one segment, and the frame after it, are in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from vitsplice.video.flow import Grey, Motion, motions, working_image
from vitsplice.video.source import Frame

MIN_CUT_DIFFERENCE = 0.04
"""There is no cut between two frames if the mean luma difference, in [0, 1], between the later frame and its prediction
along the motion is below this."""

MIN_TRUSTED, MIN_CORRELATION = 0.35, 0.3
"""From `MIN_CUT_DIFFERENCE` on, there is a cut if the motion can be trusted in less than `MIN_TRUSTED` of the frame, or
the correlation of the predicted and the actual frame is below `MIN_CORRELATION`. A flash or a fade is no cut, because
its motion can be trusted and the correlation does not depend on brightness; but one to or from a frame of a single
colour is a cut, because the correlation with such a frame is 0."""

MIN_TRUSTED_SINCE_KEY = 0.65
"""Minimum fraction of a frame in which the motion since the last key frame can be trusted; below it, the frame becomes
a key frame."""

POOL = 4
"""Side in pixels of the squares over which luma is averaged before frames are compared."""


@dataclass(frozen=True)
class FramePair:
    """Motion between two consecutive frames, in both directions.

    Args:
        backward: motion from the later frame to the earlier one.
        forward: motion from the earlier frame to the later one.
    """

    backward: Motion
    forward: Motion


@dataclass(frozen=True)
class Segment:
    """The frames from a key frame to the next one.

    Args:
        frames: the frames, the first of which is the key frame.
        following: the next key frame of the shot, with which the next segment begins; None before a cut and at the end
            of the video.
        pairs: motion between consecutive frames, up to ``following`` if there is one.
        after_cut: whether the segment is the beginning of a shot.
    """

    frames: tuple[Frame, ...]
    following: Frame | None
    pairs: tuple[FramePair, ...]
    after_cut: bool

    @property
    def last_key(self) -> Frame | None:
        """The key frame at the end: ``following``, or without it the last frame; None if that is also the first."""
        if self.following is None and len(self.frames) > 1:
            return self.frames[-1]
        return self.following

    @property
    def start(self) -> int:
        """Number of its first frame."""
        return self.frames[0].index

    @property
    def end(self) -> int:
        """Number of the frame after its last one."""
        return self.frames[-1].index + 1


def segments(frames: Iterable[Frame], length: int, *, after_cut: bool = True) -> Iterator[Segment]:
    """Divide a video into segments.

    Args:
        frames: the frames from a key frame on.
        length: maximum number of frames of a segment.
        after_cut: whether the first segment is the beginning of a shot.
    """
    window: list[Frame] = []
    pairs: list[FramePair] = []
    since_key: Motion | None = None
    image: Grey | None = None
    for frame in frames:
        previous, image = image, working_image(frame.pixels)
        if previous is None:
            window = [frame]
            continue
        pair = FramePair(*motions(previous, image))
        since_key = pair.backward if since_key is None else pair.backward.then(since_key)
        cut = is_cut(previous, image, pair.backward)
        if cut or len(window) == length or float(since_key.valid.mean()) < MIN_TRUSTED_SINCE_KEY:
            following = None if cut else frame
            yield Segment(tuple(window), following, tuple(pairs if cut else [*pairs, pair]), after_cut)
            window, pairs, since_key, after_cut = [frame], [], None, cut
        else:
            window, pairs = [*window, frame], [*pairs, pair]
    if window:
        yield Segment(tuple(window), None, tuple(pairs), after_cut)


def is_cut(earlier: Grey, later: Grey, backward: Motion) -> bool:
    """Decide whether there is a cut between two frames.

    Args:
        earlier, later: luma of both frames, ``(h, w)`` uint8.
        backward: motion from the later frame to the earlier one.
    """
    frames = [torch.from_numpy(image)[None, None] / 255 for image in (earlier, later)]
    predicted, actual = (F.avg_pool2d(image, POOL).flatten() for image in (backward.sample(frames[0]), frames[1]))
    if float((actual - predicted).abs().mean()) < MIN_CUT_DIFFERENCE:
        return False
    correlation = F.cosine_similarity(predicted - predicted.mean(), actual - actual.mean(), dim=0)
    return float(backward.valid.mean()) < MIN_TRUSTED or float(correlation) < MIN_CORRELATION
