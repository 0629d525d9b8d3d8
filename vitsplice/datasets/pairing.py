"""Which appearance images each structure image of a group is paired with, when features do not decide."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from vitsplice.datasets.sources import Group
from vitsplice.errors import Argument, UserError
from vitsplice.text import printable

Choice = tuple[Path, list[Path]]
"""A structure image and its appearance images."""


def by_name(group: Group) -> Iterator[Choice]:
    """Images of the same name, but for its ending; those without a partner have none.

    Raises:
        UserError: if two images of a role have the same name, or no name is in both.
    """
    structures, appearances = (_by_stem(paths) for paths in (group.structures, group.appearances))
    if not structures.keys() & appearances.keys():
        names = [printable(paths[0].name) for paths in (group.structures, group.appearances)]
        raise UserError(
            f"no structure image has the name of an appearance image ({names[0]}, ... and {names[1]}, ...); "
            "pair them otherwise: ",
            Argument("by"),
            " similarity, random or all",
        )
    for stem, structure in structures.items():
        yield structure, [appearances[stem]] if stem in appearances else []


def by_chance(group: Group, most: int, seed: int) -> Iterator[Choice]:
    """So many at random, none twice; fewer where there are not as many."""
    chance = random.Random(f"{seed} {group.name}")
    places = {os.path.realpath(path): number for number, path in enumerate(group.appearances)}
    for structure in group.structures:
        own = places.get(os.path.realpath(structure), len(group.appearances))
        there = len(group.appearances) - (own < len(group.appearances))
        drawn = sorted(chance.sample(range(there), min(most, there)))
        yield structure, [group.appearances[number + (number >= own)] for number in drawn]


def every(group: Group) -> Iterator[Choice]:
    """All but the image itself."""
    own = {path: os.path.realpath(path) for path in {*group.structures, *group.appearances}}
    for structure in group.structures:
        yield structure, [path for path in group.appearances if own[path] != own[structure]]


def _by_stem(paths: tuple[Path, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise UserError(f"{printable(str(found[path.stem]))} and {printable(path.name)} have the same name")
        found[path.stem] = path
    return found
