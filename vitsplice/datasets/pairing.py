"""Pair the images of a group by name, at random, or exhaustively; `similarity` pairs them by features."""

from __future__ import annotations

import os
import random
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from vitsplice.datasets.sources import ImageGroup
from vitsplice.errors import Argument, UserError
from vitsplice.text import printable

Pairing = tuple[Path, list[Path]]
"""A structure image and its appearance images."""


def pair_by_name(group: ImageGroup) -> Iterator[Pairing]:
    """Pair images with the same name up to the suffix, also if their accents are encoded differently (NFC, NFD).

    An image is not paired with itself; a structure image may have no appearance image.

    Raises:
        UserError: if two structure images or two appearance images have the same name, or no name occurs in both roles.
    """
    structures, appearances = (_by_stem(paths) for paths in (group.structures, group.appearances))
    if not structures.keys() & appearances.keys():
        names = [printable(paths[0].name) for paths in (group.structures, group.appearances)]
        raise UserError(
            f"no structure image has the name of an appearance image ({names[0]}, ... and {names[1]}, ...); "
            "use another pairing: ",
            Argument("by"),
            " similarity, random or all",
        )
    for stem, structure in structures.items():
        match = appearances.get(stem)
        same_file = match and os.path.realpath(match) == os.path.realpath(structure)
        yield structure, [] if match is None or same_file else [match]


def pair_at_random(group: ImageGroup, number: int, seed: int) -> Iterator[Pairing]:
    """Draw up to ``number`` appearance images for each structure image, without replacement and never itself."""
    rng = random.Random(f"{seed} {group.name}")
    indices: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(group.appearances):
        indices[os.path.realpath(path)].append(index)
    for structure in group.structures:
        own = indices.get(os.path.realpath(structure), [])  # several, if paths are links to one file
        candidates = len(group.appearances) - len(own)
        drawn = sorted(rng.sample(range(candidates), min(number, candidates)))
        yield structure, [group.appearances[_index_except(own, rank)] for rank in drawn]


def _index_except(excluded: Sequence[int], rank: int) -> int:
    """Return the index at position ``rank`` of 0, 1, 2, ... without the ``excluded`` ones, which must ascend."""
    for index in excluded:
        rank += rank >= index
    return rank


def pair_all(group: ImageGroup) -> Iterator[Pairing]:
    """Pair each structure image with every appearance image but itself."""
    resolved = {path: os.path.realpath(path) for path in {*group.structures, *group.appearances}}
    for structure in group.structures:
        yield structure, [path for path in group.appearances if resolved[path] != resolved[structure]]


def _by_stem(paths: tuple[Path, ...]) -> dict[str, Path]:
    by_stem: dict[str, Path] = {}
    for path in paths:
        stem = unicodedata.normalize("NFC", path.stem)
        if by_stem.setdefault(stem, path) != path:
            first, second = printable(str(by_stem[stem])), printable(str(path))
            raise UserError(f"{first} and {second} have the same name apart from the suffix; rename one")
    return by_stem
