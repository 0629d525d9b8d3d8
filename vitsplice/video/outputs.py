"""The outputs of the frames of a segment, from its key frames or frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.matching import Correspondence
from vitsplice.numerics import numerics
from vitsplice.video.colours import Pixels, as_pixels
from vitsplice.video.flow import Motion
from vitsplice.video.propagation import Carried, between, carried_motions, faded, moved_spots, preference
from vitsplice.video.segments import Segment
from vitsplice.video.transfer import FrameTransfer

SOFT = 5
"""Side in pixels of the square over which the validity of the motion is averaged before changes are blended."""


@dataclass(frozen=True)
class Key:
    """A key frame that was computed.

    Args:
        match: its correspondence; None if the preset needs none.
        output: its output, ``(1, 3, H, W)``.
        change: its output minus its start, ``(1, 3, H, W)``; None if the preset takes no steps.
    """

    match: Correspondence | None = field(repr=False)
    output: Tensor = field(repr=False)
    change: Tensor | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SegmentOutputs:
    """The outputs of the frames of a segment.

    Args:
        outputs: 8-bit RGB of each frame, ``(H, W, 3)``.
        following: the key frame after the segment, for the next segment; None if there is none.
    """

    outputs: list[Pixels]
    following: Key | None


Report = Callable[[int], object]
"""Function that is called with the number of a frame before it is computed."""


@numerics(grad=False)
def propagated(transfer: FrameTransfer, segment: Segment, first: Key | None, report: Report) -> SegmentOutputs:
    """Compute a segment from the key frames at its ends.

    Args:
        transfer: what is computed for a frame.
        segment: the segment.
        first: its key frame, if the previous segment computed it.
        report: called before each frame.
    """
    report(segment.start)
    if first is None:
        first = _key(transfer, transfer.prepared(segment.frames[0].tensor()))
    motions = [_on_device(each, transfer.device) for each in carried_motions(segment)]
    following = None
    if segment.following is not None:
        following = _key(transfer, transfer.prepared(segment.following.tensor()), first, motions[-1].earlier)
    forth = moved_spots(first.match, [step.forth for step in segment.steps])
    back = moved_spots(following.match if following else None, [step.back for step in reversed(segment.steps)])
    outputs = [as_pixels(first.output)]
    for number, frame in enumerate(segment.frames[1:], 1):
        report(frame.index)
        carried = motions[number]
        spots = [*faded(forth[number], 1 - carried.fraction), *faded(back[-1 - number], carried.fraction)]
        pixels, match = transfer.prepared(frame.tensor()), None
        if first.match is not None:
            match = between(pixels, first.match, following.match if following else None, carried, spots)
        outputs.append(as_pixels(changed(transfer.start(pixels, match), first, following, carried)))
    return SegmentOutputs(outputs, following)


@numerics(grad=False)
def frame_by_frame(transfer: FrameTransfer, segment: Segment, first: Key | None, report: Report) -> SegmentOutputs:
    """Compute each frame of a segment as an image of its own, for comparison; ``first`` as in `propagated`."""
    keys: list[Key] = [first] if first else []
    for frame in segment.frames[len(keys) :]:
        report(frame.index)
        keys.append(_key(transfer, transfer.prepared(frame.tensor())))
    following = None
    if segment.following is not None:
        following = _key(transfer, transfer.prepared(segment.following.tensor()))
    return SegmentOutputs([as_pixels(key.output) for key in keys], following)


def _key(transfer: FrameTransfer, frame: Tensor, previous: Key | None = None, motion: Motion | None = None) -> Key:
    """Compute a key frame.

    Args:
        transfer: what is computed for a frame.
        frame: ``(1, 3, H, W)``.
        previous: the previous key frame of the same shot; None for the first.
        motion: motion from the key frame to the previous one.
    """
    preferred = None
    if previous is not None and previous.match is not None and motion is not None:
        preferred = partial(preference, previous.match, motion)
    match = transfer.match(frame, preferred)
    start = transfer.start(frame, match)
    if not transfer.optimises:
        return Key(match, start)
    initial = start
    if previous is not None and previous.change is not None and motion is not None:
        initial = (start + _fetched(previous.change, motion, _trust(motion, start))).clamp(0, 1)
    output = transfer.optimised(frame, match, initial)
    return Key(match, output, output - start)


def changed(start: Tensor, first: Key, following: Key | None, carried: Carried) -> Tensor:
    """Add the changes of the key frames to the start of a frame, where their motion can be trusted."""
    if first.change is None:
        return start
    trust = _trust(carried.earlier, start)
    if following is None or following.change is None or carried.later is None:
        return (start + _fetched(first.change, carried.earlier, trust)).clamp(0, 1)
    later = _trust(carried.later, start)
    shares = (1 - carried.fraction) * trust, carried.fraction * later
    total = (shares[0] + shares[1]).clamp(min=1e-6)
    change = sum(
        _fetched(each.change, motion, share / total)
        for each, motion, share in ((first, carried.earlier, shares[0]), (following, carried.later, shares[1]))
        if each.change is not None
    )
    return (start + torch.maximum(trust, later) * change).clamp(0, 1)


def _fetched(change: Tensor, motion: Motion, weight: Tensor) -> Tensor:
    return weight * motion.sample(change)


def _trust(motion: Motion, like: Tensor) -> Tensor:
    """Return the validity of a motion at the size of an image, softened: ``(1, 1, H, W)``."""
    valid = motion.resized((like.shape[-2], like.shape[-1])).valid
    return F.avg_pool2d(valid, SOFT, 1, SOFT // 2, count_include_pad=False)


def _on_device(carried: Carried, device: torch.device) -> Carried:
    later = None if carried.later is None else carried.later.to(device)
    return Carried(carried.earlier.to(device), later, carried.fraction)
