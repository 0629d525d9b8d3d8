"""Pairs of images that mean the same: the nearest by a backbone's feature of appearance, a ViT's [CLS].

SpliceNet is trained on pairs that are chosen so (Tumanyan et al. 2023, supplement). Of a random pair, what the
appearance image shows may have no counterpart in the structure image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vitsplice.datasets.features import Feature, features
from vitsplice.datasets.pairing import Choice
from vitsplice.datasets.sources import Group
from vitsplice.engine.backbones import backbone_or_default
from vitsplice.engine.device import pick_device
from vitsplice.support import output_folder as folder
from vitsplice.support.progress import ProgressReporter

SHOWN = 5
"""Images that cannot be read and are named; the others are counted."""

ROWS = 256
"""Structure images whose similarities to all appearance images are held at a time."""


def similar(
    groups: Sequence[Group],
    most: int,
    name: str | None,
    device: str,
    kept: Path,
    progress: ProgressReporter,
) -> list[tuple[Group, Path, list[Path]]] | None:
    """For each structure image of each group so many appearance images, or None if it was stopped.

    Args:
        groups: within which images are paired.
        most: appearance images for each structure image.
        name: of a backbone, or None for that of the default preset, with its fallback.
        device: see `vitsplice.engine.device.pick_device`.
        kept: a file of features, made, or gone on with.
        progress: told which image is looked at, of a backbone that stands in for another, and of images that cannot be
            read.

    Raises:
        UnknownName, WeightsUnavailable: if the backbone cannot be had.
        VitspliceError: if the file cannot be written.
    """
    place = pick_device(device)
    backbone, substitution = backbone_or_default(name)
    backbone = backbone.to(place, torch.float32)
    progress.note(
        str(substitution) if substitution else f"similarity by the appearance feature of {backbone.info.name}"
    )
    images = list(dict.fromkeys(path for group in groups for path in (*group.structures, *group.appearances)))
    folder.write(kept.parent, {})
    found = features(images, backbone, place, kept, progress)
    if found is None:
        return None
    _note_broken(found.broken, progress.note)
    return [(group, *choice) for group in groups for choice in by_similarity(group, found.features, most)]


def by_similarity(group: Group, features: Mapping[Path, Feature], most: int) -> Iterator[Choice]:
    """So many nearest, the nearest first, or as many as there are. Images without a feature are left out."""
    structures = [path for path in group.structures if path in features]
    appearances = [path for path in group.appearances if path in features]
    if not appearances or not structures:
        yield from ((structure, []) for structure in structures)
        return
    found = nearest([features[path] for path in structures], [features[path] for path in appearances], most)
    for structure, chosen in zip(structures, found, strict=True):
        yield structure, [appearances[number] for number in chosen]


def nearest(of: Sequence[Feature], among: Sequence[Feature], most: int) -> Iterator[list[int]]:
    """For each feature the places of so many of the others of the highest cosine similarity, the nearest first.

    Of equals the first. A file with the same bytes does not count, under whatever name.
    """
    codes = {feature.sha256: number for number, feature in enumerate((*of, *among))}
    these, those = (np.array([codes[feature.sha256] for feature in some], np.int64) for some in (of, among))
    left, right = _directions(of), _directions(among)
    for start in range(0, len(of), ROWS):
        rows = slice(start, start + ROWS)
        alike = left[rows] @ right.T
        alike[these[rows, None] == those] = -np.inf
        order = np.argsort(-alike, axis=1, kind="stable")[:, :most]
        for row, chosen in zip(alike, order, strict=True):
            yield [int(number) for number in chosen if row[number] > -np.inf]


def _directions(features: Sequence[Feature]) -> NDArray[np.float32]:
    """Features at length 1, ``(N, D)``."""
    values = np.array([feature.values for feature in features], np.float32).reshape(len(features), -1)
    directions: NDArray[np.float32] = values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)
    return directions


def _note_broken(broken: Sequence[str], note: Callable[[str], object]) -> None:
    for why in broken[:SHOWN]:
        note(f"left out: {why}")
    if len(broken) > SHOWN:
        note(f"left out: {len(broken) - SHOWN} more images that cannot be read")
