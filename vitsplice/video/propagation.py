"""A correspondence carried along the motion of a video, so that what a patch takes its appearance from moves with it.

Key frames are matched with the appearance image. A frame between two of them takes the assignments of both, each
carried along the motion, and weighted by the distance in time and by where the motion can be trusted. The next key
frame is matched with a preference for what the previous one matched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.images.transforms import to_lab
from vitsplice.matching import Correspondence, Preference
from vitsplice.matching.small_spots import SmallSpots
from vitsplice.video.flow import Motion, standing
from vitsplice.video.segments import Segment

PREFERENCE = 0.05
"""Score that is added for the patch that the previous key frame matched most, in units of similarity."""

HIDDEN = 1e-3
"""Weight of an assignment where its motion cannot be trusted, so that weights never sum to 0."""


LEAST = 1e-12
"""Minimum of a weight whose logarithm is taken."""

SHARPEST, HALVINGS, EVERY = 4.0, 6, 8
"""Maximum of the power of `sharpened`, number of bisections that find it, and interval of the rows that they use."""


@dataclass(frozen=True)
class Carried:
    """The motion between a frame and the key frames around it.

    Args:
        earlier: motion from the frame to the key frame before it.
        later: motion to the key frame after it; None if there is none.
        fraction: time since the earlier key frame, as a fraction of the time between both.
    """

    earlier: Motion
    later: Motion | None
    fraction: float


def carried_motions(segment: Segment) -> list[Carried]:
    """Compute the motion between each frame of a segment, and the key frame after it, and its key frames."""
    size = _size(segment)
    earlier, later = [standing(size)], [standing(size)]
    for step in segment.steps:
        earlier.append(step.back.then(earlier[-1]))
    for step in reversed(segment.steps):
        later.append(step.forth.then(later[-1]))
    count = len(segment.frames) + (segment.following is not None)
    if segment.following is None:
        return [Carried(motion, None, 0.0) for motion in earlier]
    fractions = [number / (count - 1) for number in range(count)]
    return [Carried(*each) for each in zip(earlier, reversed(later), fractions, strict=True)]


def preference(match: Correspondence, motion: Motion) -> Preference:
    """Prefer what a key frame matched, at the patches of another frame.

    Args:
        match: correspondence of the key frame.
        motion: motion from the other frame to the key frame.
    """
    weights = _carried(match, motion)
    trusted = motion.resized(match.grid).valid.flatten()[:, None]
    strongest = weights.amax(1, keepdim=True).clamp(min=1e-12)
    return Preference(PREFERENCE * trusted * weights / strongest, match.others)


def between(
    frame: Tensor, earlier: Correspondence, later: Correspondence | None, carried: Carried, spots: Sequence[SmallSpots]
) -> Correspondence:
    """Compute the correspondence of a frame from those of the key frames around it.

    Args:
        frame: ``(1, 3, H, W)`` in [0, 1].
        earlier, later: correspondences of the key frames.
        carried: motion between the frame and the key frames.
        spots: small spots of both key frames, moved to the frame.

    Returns:
        The correspondence. Its similarities are those of the earlier key frame.
    """
    weights, entropy = _carried(earlier, carried.earlier), mean_entropy(earlier.weights)
    if later is not None and carried.later is not None:
        trusts = [motion.resized(earlier.grid).valid.flatten()[:, None] for motion in (carried.earlier, carried.later)]
        first, second = (
            share * (trust + HIDDEN)
            for share, trust in zip((1 - carried.fraction, carried.fraction), trusts, strict=True)
        )
        weights = (first * weights + second * _carried(later, carried.later)) / (first + second)
        entropy = torch.lerp(entropy, mean_entropy(later.weights), carried.fraction)
    weights = sharpened(weights, entropy)
    colours = F.adaptive_avg_pool2d(to_lab(frame), earlier.grid).flatten(2)[0].T
    return replace(earlier, weights=weights, colours=colours, spots=_joined(spots))


def mean_entropy(weights: Tensor) -> Tensor:
    """Return the mean entropy of the rows of an assignment ``(N, M)``, a scalar."""
    entropies: Tensor = -torch.special.xlogy(weights, weights).sum(1)
    return entropies.mean()


def sharpened(weights: Tensor, entropy: Tensor) -> Tensor:
    """Raise the weights to a power, so that their mean entropy is not higher than a given one.

    Interpolated and blended assignments are softer than those of key frames, and would mix more colours.

    Args:
        weights: ``(N, M)``, rows sum to 1.
        entropy: mean entropy of the assignments of the key frames.
    """
    logarithms, low, high = weights.clamp(min=LEAST).log(), 1.0, SHARPEST
    some = logarithms[::EVERY]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_entropy((middle * some).softmax(1)) > entropy else (low, middle)
    return (low * logarithms).softmax(1)


def moved_spots(match: Correspondence | None, steps: Sequence[Motion]) -> list[SmallSpots | None]:
    """Move the small spots of a key frame from frame to frame.

    Args:
        match: correspondence of the key frame; None: there are no spots.
        steps: motion from the key frame to the next frame, from that to the one after it, and so on.

    Returns:
        The spots in the key frame and in each of the frames.
    """
    spots = match.spots if match else None
    if match is None or spots is None:
        return [None] * (len(steps) + 1)
    sides, moved = spots.centres.new_tensor(match.grid), [spots]
    for step in steps:
        points, valid = step.to(sides.device).track(moved[-1].centres / sides)
        moved.append(replace(moved[-1], centres=points * sides, strengths=moved[-1].strengths * valid))
    return list(moved)


def faded(spots: SmallSpots | None, share: float) -> list[SmallSpots]:
    """Return spots with their strengths multiplied by a factor, as a list; [] for None."""
    return [] if spots is None else [replace(spots, strengths=spots.strengths * share)]


def _joined(spots: Sequence[SmallSpots]) -> SmallSpots | None:
    if not spots:
        return None
    return SmallSpots(*(torch.cat([getattr(each, name) for each in spots]) for name in vars(spots[0])))


def _carried(match: Correspondence, motion: Motion) -> Tensor:
    """Fetch the weights of a key frame along the motion, ``(N, M)``; rows sum to 1."""
    weights = match.weights.T.reshape(1, -1, *match.grid)
    return motion.sample(weights).flatten(2)[0].T


def _size(segment: Segment) -> tuple[int, int]:
    """Size of the motion of a segment; of one without any, that of a pixel."""
    if not segment.steps:
        return 1, 1
    height, width = segment.steps[0].back.flow.shape[-2:]
    return height, width
