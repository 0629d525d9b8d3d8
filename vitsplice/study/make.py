"""A study: what is shown, what is asked, and which image is whose."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from vitsplice.datasets import Pair, read
from vitsplice.evaluation.outputs import Method
from vitsplice.study.page_images import Album
from vitsplice.study.plan import SCHEMA, identified
from vitsplice.study.trials import checks, outputs, trials_a_rater

QUESTION = "Which image better shows the structure of A with the appearance of B?"
TITLE = "Comparing images"

OTHER_ASPECT = 0.03
"""The share by which width over height of an output may differ from the structure image's before it is noted."""


@dataclass(frozen=True)
class Settings:
    """How a study asks.

    Args:
        question: what is asked of each two outputs; A is the structure image, B the appearance image.
        title: of the page.
        trials: comparisons a rater, without checks; None: all there are, up to `trials.DEFAULT_TRIALS`.
        checks: trials with a known answer a rater.
        size: longer side of the images in the page, in pixels, at most.
        min_view: seconds for which a trial is shown before it can be answered.
        seed: of the choice of checks, and part of what sets every rater's order.
    """

    question: str = QUESTION
    title: str = TITLE
    trials: int | None = None
    checks: int = 3
    size: int = 512
    min_view: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Study:
    """A study that was made.

    Args:
        key: the plan as plain data: see `vitsplice.study.plan.Plan`.
        images: data URIs by name.
        notes: what is not as one might think.
    """

    key: Mapping[str, Any]
    images: Mapping[str, str]
    notes: tuple[str, ...]


def make(
    manifest: str | os.PathLike[str],
    methods: Sequence[Method],
    settings: Settings,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Study:
    """Make a study of the outputs of several methods for the pairs of a manifest.

    Args:
        manifest: of pairs; ``source`` is the set that a pair belongs to.
        methods: two or more, each with an output for every pair.
        settings: how it asks.
        progress: is called with the images that were read, and how many there are.

    Raises:
        UserError: something is not there or cannot be read, or more is asked for than there is.
    """
    pairs = list(read(manifest))
    paths = outputs(methods, pairs)
    names = [method.name for method in methods]
    trials = trials_a_rater(settings.trials, len(pairs), len(methods))
    files = {*paths.values(), *(path for pair in pairs for path in (pair.structure, pair.appearance))}
    album = Album(settings.size, lambda done: progress(done, len(files) + settings.checks))
    entries = [_entry(pair, names, paths, album) for pair in pairs]
    images = {pair.id: frozenset((album(pair.structure).sha256, album(pair.appearance).sha256)) for pair in pairs}
    chosen = checks(settings.checks, images, names, settings.seed)
    asked = {
        "schema": SCHEMA,
        "title": settings.title,
        "question": settings.question,
        "seed": settings.seed,
        "trials": trials,
        "min_view_ms": round(settings.min_view * 1000),
        "methods": names,
        "pairs": entries,
        "checks": [
            {"pair": c.pair, "method": c.method, "wrong": album(paths[c.other, c.method], upside_down=True).name}
            for c in chosen
        ],
    }
    return Study(identified(asked), album.uris(), tuple(_notes(pairs, names, paths, album)))


def _entry(pair: Pair, names: Sequence[str], paths: Mapping[tuple[str, str], Path], album: Album) -> dict[str, Any]:
    return {
        "id": pair.id,
        "set": pair.source,
        "structure": album(pair.structure).name,
        "appearance": album(pair.appearance).name,
        "outputs": [album(paths[pair.id, name]).name for name in names],
    }


def _notes(
    pairs: Sequence[Pair], names: Sequence[str], paths: Mapping[tuple[str, str], Path], album: Album
) -> list[str]:
    notes = []
    for one, two in combinations(names, 2):
        same = [pair.id for pair in pairs if album(paths[pair.id, one]).name == album(paths[pair.id, two]).name]
        if same:
            notes.append(f"{one} and {two} have the same image for {len(same)} of {len(pairs)} pairs, as {same[0]}")
    for name in names:
        other = [pair.id for pair in pairs if _differs(album(paths[pair.id, name]).ratio, album(pair.structure).ratio)]
        if other:
            notes.append(
                f"{name} has another aspect than the structure image for {len(other)} of {len(pairs)} pairs, "
                f"as {other[0]}: raters can tell it by that"
            )
    return notes


def _differs(one: float, two: float) -> bool:
    return abs(one / two - 1) > OTHER_ASPECT
