"""What a study compares: pairs, methods with an output for each, and trials of which the right answer is known."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path

from vitsplice.datasets import Pair
from vitsplice.errors import Argument, ConfigError, UserError
from vitsplice.evaluation.outputs import LAYOUT, Method
from vitsplice.evaluation.own import of_run

SHOWN_IN_ERRORS = 5

DEFAULT_TRIALS = 40
"""A rater, where there are as many: some five minutes."""


@dataclass(frozen=True)
class Check:
    """A trial with a known answer.

    Args:
        pair: id of the pair that is shown.
        method: name of the method whose output for that pair is the right answer.
        other: id of the pair whose output, by the same method and turned upside down, is the wrong one.
    """

    pair: str
    method: str
    other: str


def outputs(methods: Sequence[Method], pairs: Sequence[Pair]) -> dict[tuple[str, str], Path]:
    """Paths by (pair id, method name), of files that lie as for an evaluation.

    Raises:
        ConfigError: if there are fewer than two methods, or two of one name.
        UserError: naming the pairs for which a method has no output, or more than one.
        ImageError: if an output is of a run that was not finished.
    """
    names = [method.name for method in methods]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(f"a study compares two or more methods of different names, not {', '.join(names) or 'none'}")
    if not pairs:
        raise UserError("the manifest holds no pairs")
    found = {(pair.id, method.name): [*method.found(pair.id)] for method in methods for pair in pairs}
    for name in names:
        if twice := [pair for pair in pairs if len(found[pair.id, name]) > 1]:
            both = " and ".join(map(str, found[twice[0].id, name]))
            raise UserError(f"method {name} has more than one output for {twice[0].id}: {both}; keep one")
        if missing := [pair.id for pair in pairs if not found[pair.id, name]]:
            shown = ", ".join(missing[:SHOWN_IN_ERRORS]) + (", ..." if len(missing) > SHOWN_IN_ERRORS else "")
            raise UserError(
                f"method {name} has no output for {len(missing)} of {len(pairs)} pairs: {shown}; a study needs "
                f"one of every method for every pair of the manifest, in {LAYOUT}"
            )
    for [path] in found.values():
        of_run(path)
    return {key: path for key, [path] in found.items()}


def trials_a_rater(asked: int | None, pairs: int, methods: int) -> int:
    """How many comparisons a rater is given; without a wish, all there are up to `DEFAULT_TRIALS`.

    Raises:
        ConfigError: if more are asked for than there are.
    """
    most = pairs * comb(methods, 2)
    if asked is not None and asked > most:
        raise ConfigError(
            Argument("trials", asked),
            f" is more than there are: {pairs} pairs by {comb(methods, 2)} pairs of methods are {most}",
        )
    return min(most, DEFAULT_TRIALS) if asked is None else asked


def checks(wanted: int, images: Mapping[str, frozenset[str]], methods: Sequence[str], seed: int) -> list[Check]:
    """Trials with a known answer: an output of the pair beside one of an unrelated pair, upside down.

    Pairs and methods take turns, so that no method's outputs are the right answer more often than another's.

    Args:
        wanted: how many.
        images: by id of pair, its images (SHA-256); pairs that share one are related.
        methods: names.
        seed: of the choice.

    Raises:
        ConfigError: if there are not so many.
    """
    chance = random.Random(seed)
    unrelated = {a: [b for b in images if not images[a] & images[b]] for a in images}
    order = chance.sample(usable := [pair for pair in images if unrelated[pair]], len(usable))
    if wanted > len(order) * len(methods):
        raise ConfigError(
            Argument("checks", wanted),
            f" is more than there can be: {len(order) * len(methods)}. A check needs two pairs that share no image; "
            "add pairs, or give a smaller ",
            Argument("checks"),
            " (0 for none)",
        )
    turns = [(place, lap) for lap in range(len(methods)) for place in range(len(order))][:wanted]
    return [
        Check(order[place], methods[(place + lap) % len(methods)], chance.choice(unrelated[order[place]]))
        for place, lap in turns
    ]
