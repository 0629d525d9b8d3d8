"""The outputs of the frames of a segment, from its key frames or frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from vitsplice.matching import Correspondence
from vitsplice.matching.small_spots import SmallSpots
from vitsplice.numerics import numerics
from vitsplice.video.colours import Pixels, as_pixels
from vitsplice.video.flow import Motion
from vitsplice.video.propagation import (
    KeyMotions,
    blended_correspondence,
    blended_maps,
    blended_start_maps,
    faded,
    key_motions,
    moved_spots,
    preference,
    soft_trust,
)
from vitsplice.video.segments import Segment
from vitsplice.video.transfer import FrameTransfer


@dataclass(frozen=True)
class Key:
    """A computed key frame.

    Args:
        match: correspondence of the frame; None if the preset needs no correspondence.
        output: output of the frame, ``(1, 3, H, W)``.
        maps: maps of its warm start, ``(1, 8, h, w)`` (`vitsplice.engine.warm_start`); None if the preset has none.
        change: output minus start, ``(1, 3, H, W)``; None if the preset takes no steps.
    """

    match: Correspondence | None = field(repr=False)
    output: Tensor = field(repr=False)
    maps: Tensor | None = field(default=None, repr=False)
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
"""Function that is called before each frame is computed, with the number of the first frame that is not computed yet.
The frame that is computed next may be a later one: the key frame at the end of a segment is computed before the frames
in between."""


@numerics(grad=False)
def propagated(transfer: FrameTransfer, segment: Segment, first: Key | None, report: Report) -> SegmentOutputs:
    """Compute a segment from the key frames at its ends.

    Args:
        transfer: the transfer to single frames.
        segment: the segment.
        first: the key frame at the beginning of the segment, from the previous segment; None: it is computed here.
        report: called before each frame.
    """
    if first is None:
        report(segment.start)
        first = _key(transfer, segment.frames[0].tensor().to(transfer.device))
    if segment.last_key is None:
        return SegmentOutputs([as_pixels(first.output)], None)
    motions = [_on_device(each, transfer.device) for each in key_motions(segment)]
    report(segment.start + 1)
    last = _key(transfer, segment.last_key.tensor().to(transfer.device), first, motions[-1].earlier)
    forward = moved_spots(first.match, [pair.forward for pair in segment.pairs])
    backward = moved_spots(last.match, [pair.backward for pair in reversed(segment.pairs)])
    outputs = [as_pixels(first.output)]
    for number, frame in enumerate(segment.frames[1:], 1):
        if frame is segment.last_key:
            outputs.append(as_pixels(last.output))
            continue
        report(frame.index)
        pixels, fraction = frame.tensor().to(transfer.device), motions[number].fraction
        spots = [*faded(forward[number], 1 - fraction), *faded(backward[-1 - number], fraction)]
        outputs.append(as_pixels(_between(transfer, pixels, first, last, motions[number], spots)))
    return SegmentOutputs(outputs, last if segment.following else None)


def _between(
    transfer: FrameTransfer, frame: Tensor, first: Key, last: Key, motions: KeyMotions, spots: list[SmallSpots]
) -> Tensor:
    """Compute the output of a frame between two key frames; ``spots`` as in `blended_correspondence`."""
    match = None
    if first.match is not None and last.match is not None:
        match = blended_correspondence(frame, first.match, last.match, motions, spots)
    maps = transfer.start_maps(frame, match)
    if maps is not None and first.maps is not None and last.maps is not None:
        maps = blended_start_maps(maps, first.maps, last.maps, motions)
    return changed(transfer.start(frame, match, maps), first, last, motions)


@numerics(grad=False)
def frame_by_frame(transfer: FrameTransfer, segment: Segment, first: Key | None, report: Report) -> SegmentOutputs:
    """Compute each frame of a segment as an image of its own, for comparison; ``first`` as in `propagated`."""
    keys: list[Key] = [first] if first else []
    for frame in segment.frames[len(keys) :]:
        report(frame.index)
        keys.append(_key(transfer, frame.tensor().to(transfer.device)))
    following = None
    if segment.following is not None:
        report(segment.following.index)
        following = _key(transfer, segment.following.tensor().to(transfer.device))
    return SegmentOutputs([as_pixels(key.output) for key in keys], following)


def _key(transfer: FrameTransfer, frame: Tensor, previous: Key | None = None, motion: Motion | None = None) -> Key:
    """Compute a key frame.

    Args:
        transfer: the transfer to single frames.
        frame: ``(1, 3, H, W)``.
        previous: the previous key frame of the same shot; None for the first.
        motion: motion from the key frame to the previous one.
    """
    preferred = None
    if previous is not None and previous.match is not None and motion is not None:
        preferred = partial(preference, previous.match, motion)
    match = transfer.match(frame, preferred)
    maps = transfer.start_maps(frame, match)
    start = transfer.start(frame, match, maps)
    if not transfer.optimises:
        return Key(match, start, maps)
    initial = start
    if previous is not None and previous.change is not None and motion is not None:
        trust = soft_trust(motion, (start.shape[-2], start.shape[-1]))
        initial = (start + trust * motion.sample(previous.change)).clamp(0, 1)
    output = transfer.optimised(frame, match, initial)
    return Key(match, output, maps, output - start)


def changed(start: Tensor, first: Key, last: Key, motions: KeyMotions) -> Tensor:
    """Add to the start of a frame the changes of the key frames around it, where the motion to them can be trusted."""
    if first.change is None or last.change is None:
        return start
    size = start.shape[-2], start.shape[-1]
    trusts = soft_trust(motions.earlier, size), soft_trust(motions.later, size)
    change = blended_maps(torch.zeros_like(start), first.change, last.change, motions, trusts)
    return (start + change).clamp(0, 1)


def _on_device(motions: KeyMotions, device: torch.device) -> KeyMotions:
    return KeyMotions(motions.earlier.to(device), motions.later.to(device), motions.fraction)
