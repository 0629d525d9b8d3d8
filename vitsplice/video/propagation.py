"""Propagation of the matches and warm starts of key frames to the frames between them, along the motion of a video.

Each key frame but the first of a shot is matched with a preference for the colours that the previous key frame was
matched with. A frame between two key frames gets a blend of the maps of their warm starts, fetched along the motion
pixel by pixel: a key frame has more weight the nearer it is, and the more the motion to it can be trusted. Where
neither motion can be trusted, and for trained models with a condition that needs a match, the start of the frame is
computed from the soft assignments of both key frames, fetched and blended likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.images.transforms import to_lab
from vitsplice.matching import Correspondence, Preference
from vitsplice.matching.small_spots import SmallSpots
from vitsplice.video.flow import Motion, no_motion
from vitsplice.video.segments import Segment

PREFERENCE = 0.15
"""Score, in units of similarity, that is added to a match with an appearance patch that has exactly the colour that the
previous key frame took there. It is less where the colours differ or the motion is less certain."""

TRUST_FLOOR = 1e-3
"""Added in `_trust` to the validity of a motion and to the similarity of the colours that it fetches, so that weights
never sum to 0."""

EPSILON = 1e-12
"""Lower bound of weights before a logarithm or a division."""

TRUST_POOL = 5
"""Side in pixels of the square over which the validity of a motion is averaged before maps are blended."""

OWN_COLOURS = slice(3, 6)
"""The channels of the maps of a warm start that are colours of the frame itself."""

COLOUR_SIGMA = 0.1
"""Standard deviation of the difference between similar colours (Lab / 100)."""

MAX_POWER, BISECTIONS, ROW_STRIDE = 4.0, 6, 8
"""`sharpened` finds a power up to `MAX_POWER` by this number of bisections, from every `ROW_STRIDE`-th row."""


@dataclass(frozen=True)
class KeyMotions:
    """The motion between a frame and the key frames around it.

    Args:
        earlier: motion from the frame to the key frame before it.
        later: motion from the frame to the key frame after it.
        fraction: position of the frame between the key frames, by its number: 0 at the earlier one, 1 at the later one.
    """

    earlier: Motion
    later: Motion
    fraction: float


def key_motions(segment: Segment) -> list[KeyMotions]:
    """Compute the motions from each frame of a segment to its first frame and to `Segment.last_key`.

    The list has an entry for each frame of the segment, and one more for ``Segment.following`` if there is one.

    Args:
        segment: a segment with at least one pair of frames.
    """
    height, width = segment.pairs[0].backward.flow.shape[-2:]
    earlier, later = [no_motion((height, width))], [no_motion((height, width))]
    for pair in segment.pairs:
        earlier.append(pair.backward.then(earlier[-1]))
    for pair in reversed(segment.pairs):
        later.append(pair.forward.then(later[-1]))
    fractions = [number / len(segment.pairs) for number in range(len(earlier))]
    return [KeyMotions(*each) for each in zip(earlier, reversed(later), fractions, strict=True)]


def preference(match: Correspondence, motion: Motion, colours: Tensor) -> Preference:
    """Compute the preference of another frame for the appearance colours that a key frame took.

    Args:
        match: correspondence of the key frame.
        motion: motion from the other frame to the key frame.
        colours: mean colour of each patch of the appearance images in Lab / 100, ``(M, 3)``.
    """
    taken = _fetched(match.warp(colours), match.grid, motion)
    trusted = motion.resized(match.grid).valid.flatten()[:, None]
    return Preference(PREFERENCE * trusted * colour_similarity(torch.cdist(taken, colours).square()), match.others)


def blended_correspondence(
    frame: Tensor, earlier: Correspondence, later: Correspondence, motions: KeyMotions, spots: Sequence[SmallSpots]
) -> Correspondence:
    """Compute the correspondence of a frame from those of the key frames around it.

    Args:
        frame: ``(1, 3, H, W)`` in [0, 1].
        earlier, later: correspondences of the key frames.
        motions: motion between the frame and the key frames.
        spots: small spots of both key frames, moved to the frame, with their strengths multiplied by the nearness of
            the key frame (`faded`).

    Returns:
        The correspondence. Its ``similarity`` is that of the earlier key frame, unmoved: do not use ``best`` and
        ``mutual``.
    """
    colours = F.adaptive_avg_pool2d(to_lab(frame), earlier.grid).flatten(2)[0].T
    earlier_share = (1 - motions.fraction) * _trust(earlier, motions.earlier, colours)
    later_share = motions.fraction * _trust(later, motions.later, colours)
    weights = earlier_share * _fetched(earlier.weights, earlier.grid, motions.earlier)
    weights = weights + later_share * _fetched(later.weights, later.grid, motions.later)
    entropy = torch.lerp(mean_entropy(earlier.weights), mean_entropy(later.weights), motions.fraction)
    weights = sharpened(weights / (earlier_share + later_share), entropy)
    return replace(earlier, weights=weights, colours=colours, spots=reduce(_joined, spots) if spots else None)


def blended_maps(own: Tensor, earlier: Tensor, later: Tensor, motions: KeyMotions, trusts: Sequence[Tensor]) -> Tensor:
    """Fetch maps of both key frames along the motion, and blend them.

    A key frame has more weight the nearer it is, and the more the motion to it can be trusted.

    Args:
        own: ``(1, C, h, w)``, the values where no motion can be trusted.
        earlier, later: maps of the key frames, ``(1, C, h, w)``.
        motions: motion between the frame and the key frames.
        trusts: how far each of the two motions can be trusted, ``(1, 1, h, w)`` in [0, 1].
    """
    shares = (1 - motions.fraction) * trusts[0], motions.fraction * trusts[1]
    moved = shares[0] * motions.earlier.sample(earlier) + shares[1] * motions.later.sample(later)
    return torch.lerp(own, moved / (shares[0] + shares[1]).clamp(min=EPSILON), torch.maximum(*trusts))


def blended_start_maps(own: Tensor, earlier: Tensor, later: Tensor, motions: KeyMotions) -> Tensor:
    """Fetch the maps of the warm starts of both key frames along the motion, and blend them.

    A motion is trusted less where the colours that it fetches from the key frame differ from those of the frame.

    Args:
        own: maps of the warm start of the frame itself, which are used where no motion can be trusted.
        earlier, later: maps of the warm starts of the key frames, ``(1, 8, h, w)``.
        motions: motion between the frame and the key frames.

    Returns:
        The blended maps, ``(1, 8, h, w)``.
    """
    size, trusts = (own.shape[-2], own.shape[-1]), []
    for maps, motion in ((earlier, motions.earlier), (later, motions.later)):
        squared_distance = (motion.sample(maps[:, OWN_COLOURS]) - own[:, OWN_COLOURS]).square().sum(1, keepdim=True)
        trusts.append(soft_trust(motion, size) * colour_similarity(squared_distance))
    return blended_maps(own, earlier, later, motions, trusts)


def colour_similarity(squared_distance: Tensor) -> Tensor:
    """Return how similar colours are, in [0, 1], from their squared distance (Lab / 100)."""
    return torch.exp(-squared_distance / (2 * COLOUR_SIGMA**2))


def soft_trust(motion: Motion, size: tuple[int, int]) -> Tensor:
    """Return where a motion can be trusted at a size ``(H, W)``, softened: ``(1, 1, H, W)`` in [0, 1]."""
    return F.avg_pool2d(motion.resized(size).valid, TRUST_POOL, 1, TRUST_POOL // 2, count_include_pad=False)


def mean_entropy(weights: Tensor) -> Tensor:
    """Return the mean entropy of the rows of an assignment ``(N, M)``, a scalar."""
    entropies: Tensor = torch.special.entr(weights).sum(1)
    return entropies.mean()


def sharpened(weights: Tensor, entropy: Tensor) -> Tensor:
    """Raise weights to a power from 1 to `MAX_POWER` that lowers their mean entropy to about ``entropy``, if possible.

    Interpolated and blended assignments are softer than those of key frames, and would mix more colours.

    Args:
        weights: ``(N, M)``, rows sum to 1.
        entropy: mean entropy of the assignments of the key frames.
    """
    logarithms, low, high = weights.clamp(min=EPSILON).log(), 1.0, MAX_POWER
    sampled = logarithms[::ROW_STRIDE]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_entropy((middle * sampled).softmax(1)) > entropy else (low, middle)
    return (low * logarithms).softmax(1)


def moved_spots(match: Correspondence | None, steps: Sequence[Motion]) -> list[SmallSpots | None]:
    """Move the small spots of a key frame from frame to frame.

    Args:
        match: correspondence of the key frame; None: there are no spots.
        steps: motion from the key frame to its neighbour, from that to the next frame in the same direction, and so on;
            forward or backward in time.

    Returns:
        The spots in the key frame, then in each of the frames. A spot that is hidden or outside in a frame is missing
        from this frame and from all that follow.
    """
    if match is None or match.spots is None:
        return [None] * (len(steps) + 1)
    sides, moved = match.spots.centres.new_tensor(match.grid), [match.spots]
    for step in steps:
        points, valid = step.to(sides.device).track(moved[-1].centres / sides)
        spots = replace(moved[-1], centres=points * sides, strengths=moved[-1].strengths * valid)
        moved.append(spots[(spots.strengths > 0) & ((points >= 0) & (points < 1)).all(1)])
    return list(moved)


def faded(spots: SmallSpots | None, factor: float) -> list[SmallSpots]:
    """Return spots with their strengths multiplied by a factor, as a list; [] for None."""
    return [] if spots is None else [replace(spots, strengths=spots.strengths * factor)]


def _joined(first: SmallSpots, second: SmallSpots) -> SmallSpots:
    """Join the spots of two key frames.

    Two spots that are each other's nearest, at a distance below both radii, become one spot, whose strength is the sum:
    at most 1, because both are `faded`.
    """
    if not len(first.radii) or not len(second.radii):
        return _concatenated(first, second)
    distances = torch.cdist(first.centres, second.centres)
    nearest, partners = distances.min(1)
    mutual = distances.argmin(0)[partners] == torch.arange(len(partners), device=partners.device)
    same = mutual & (nearest < torch.minimum(first.radii, second.radii[partners]))
    of_first, of_second = first[same], second[partners[same]]
    alone = torch.ones_like(second.radii, dtype=torch.bool)
    alone[partners[same]] = False
    strengths = of_first.strengths + of_second.strengths
    shares = of_second.strengths / strengths
    values = zip(vars(of_first).values(), vars(of_second).values(), strict=True)
    middle = (torch.lerp(a.movedim(0, -1), b.movedim(0, -1), shares).movedim(-1, 0) for a, b in values)
    return _concatenated(replace(SmallSpots(*middle), strengths=strengths), first[~same], second[alone])


def _concatenated(*spots: SmallSpots) -> SmallSpots:
    return SmallSpots(*(torch.cat([getattr(each, name) for each in spots]) for name in vars(spots[0])))


def _fetched(values: Tensor, grid: tuple[int, int], motion: Motion) -> Tensor:
    """Fetch values of the patches of a key frame ``(N, C)`` along the motion."""
    return motion.sample(values.T.reshape(1, -1, *grid)).flatten(2)[0].T


def _trust(match: Correspondence, motion: Motion, colours: Tensor) -> Tensor:
    """Return how far the motion from each patch of a frame to a key frame can be trusted, ``(N, 1)``, above 0.

    ``colours`` are the mean colours of the patches of the frame.
    """
    valid = motion.resized(match.grid).valid.flatten()[:, None]
    if match.colours is None:
        return valid + TRUST_FLOOR
    squared_distance = (_fetched(match.colours, match.grid, motion) - colours).square().sum(1, keepdim=True)
    return (valid + TRUST_FLOOR) * (colour_similarity(squared_distance) + TRUST_FLOOR)
