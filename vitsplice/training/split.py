"""Split of images into those that a model is trained on and those that it is measured on.

The split is by image, never by pair, so that no pixel of a held-out image is trained on. Whether an image is held out
follows from the SHA-256 of its file, whatever the other images are. There are three exceptions: near-duplicates of a
held-out image are held out with it; images that the initial model was trained on are not held out; and if too few
images are held out, further ones are added (`split_fingerprints`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from vitsplice.datasets.fingerprints import Fingerprint, near_duplicate_groups
from vitsplice.errors import Setting, UserError

MIN_IMAGES = 2
"""Minimum number of different images in each subset, unless ``training.held_out`` is 0."""


@dataclass(frozen=True)
class Split:
    """Images by subset, each in the order in which they were given.

    Args:
        training: images that a model is trained on.
        held_out: images that the model is not trained on; empty if ``training.held_out`` is 0.
    """

    training: tuple[Path, ...]
    held_out: tuple[Path, ...]


def split_fingerprints(
    fingerprints: Mapping[Path, Fingerprint], held_out: float, trained: Set[str] = frozenset()
) -> Split:
    """Split images by their fingerprints.

    An image is held out if its SHA-256, as a fraction of the largest possible one, is below ``held_out``, or if it is
    connected to such an image by near-duplicates. If fewer than `MIN_IMAGES` are held out in this way, those with the
    next lowest SHA-256 are held out as well. Except in that case, an image that is added later changes the subset only
    of images that near-duplicates connect to it.

    Args:
        fingerprints: fingerprint of each image.
        held_out: expected fraction of held-out images; 0: none.
        trained: SHA-256 of images that the initial model was trained on; they and their near-duplicates are not held
            out.

    Raises:
        UserError: if fewer than `MIN_IMAGES` different images are left to train on or, unless ``held_out`` is 0, held
            out.
    """
    groups: dict[int, list[Path]] = defaultdict(list)
    for path, group in zip(fingerprints, near_duplicate_groups([*fingerprints.values()]).tolist(), strict=True):
        groups[group].append(path)
    digests = {group: {fingerprints[path].sha256 for path in paths} for group, paths in groups.items()}
    fractions = {group: min(map(_fraction, each)) for group, each in digests.items() if not each & trained}
    chosen: set[Path] = set()
    for group in sorted(fractions, key=fractions.__getitem__):
        if not held_out or (fractions[group] >= held_out and _count_different(chosen, fingerprints) >= MIN_IMAGES):
            break
        chosen.update(groups[group])
    split = Split(
        tuple(path for path in fingerprints if path not in chosen),
        tuple(path for path in fingerprints if path in chosen),
    )
    _check(split, fingerprints, held_out, {digest for each in digests.values() if each & trained for digest in each})
    return split


def _fraction(sha256: str) -> float:
    """Return a SHA-256 as a fraction of the largest possible one."""
    return int(sha256[:13], 16) / 16**13


def _count_different(paths: set[Path] | tuple[Path, ...], fingerprints: Mapping[Path, Fingerprint]) -> int:
    return len({fingerprints[path].sha256 for path in paths})


def _check(split: Split, fingerprints: Mapping[Path, Fingerprint], held_out: float, always_training: Set[str]) -> None:
    training, number_held_out = (_count_different(subset, fingerprints) for subset in (split.training, split.held_out))
    if not held_out and training < MIN_IMAGES:
        raise UserError(f"a training needs at least {MIN_IMAGES} different images, not {training}; give more images")
    if training < MIN_IMAGES or (held_out > 0 and number_held_out < MIN_IMAGES):
        reason = (
            f" ({len(always_training)} cannot be held out, because the initial model was trained on them or on "
            "near-duplicates of them)"
            if always_training and number_held_out < MIN_IMAGES
            else ""
        )
        raise UserError(
            f"of {_count_different(tuple(fingerprints), fingerprints)} different images {number_held_out} are held out "
            f"and {training} are left to train on{reason}; at least {MIN_IMAGES} of each are needed. Give more images, "
            "or hold out none with ",
            Setting("training.held_out", 0),
        )
