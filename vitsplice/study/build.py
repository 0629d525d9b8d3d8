"""Build a study of the outputs of several methods for the pairs of a manifest."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, lcm
from pathlib import Path

from vitsplice.datasets import Pair, read
from vitsplice.errors import Argument, ConfigError, UserError
from vitsplice.evaluation.leakage import read_optimised
from vitsplice.evaluation.plan import LAYOUT, Method
from vitsplice.study.page import ImageEmbedder, StudyPage
from vitsplice.study.plan import PlannedCheck, PlannedPair, StudyPlan
from vitsplice.support.bounded_yaml import is_valid_text

Outputs = Mapping[tuple[str, str], Path]
"""Paths by (pair id, method name)."""

QUESTION = "Which image better shows the structure of A with the appearance of B?"
TITLE = "Comparing images"

DEFAULT_TRIALS = 40
"""Maximum number of comparisons for each rater by default; they take about five minutes."""

ASPECT_TOLERANCE = 0.03
"""Relative difference in aspect ratio between an output and its structure image above which a note is given."""

SHOWN_IN_ERRORS = 5


@dataclass(frozen=True)
class StudySettings:
    """Settings of a study.

    Args:
        question: question about every two outputs; A is the structure image, B the appearance image.
        title: title of the page.
        trials: number of comparisons for each rater, without checks; None for all, but at most `DEFAULT_TRIALS`.
        checks: number of trials with a known answer for each rater.
        size: maximum length of the longer side of the images in the page, in pixels.
        min_view: seconds before a trial can be answered; values below 0.25 act as 0.25.
        seed: seed of the choice of checks; it also changes the order of trials of every rater.
    """

    question: str = QUESTION
    title: str = TITLE
    trials: int | None = None
    checks: int = 3
    size: int = 512
    min_view: float = 0.0
    seed: int = 0


def build_study(
    manifest: str | os.PathLike[str],
    methods: Sequence[Method],
    settings: StudySettings,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> StudyPage:
    """Build the page of a study.

    Args:
        manifest: path of a manifest of pairs. Pairs with the same ``source`` form a set; if there are several sets,
            the analysis also compares the methods within each.
        methods: two or more methods with an output for every pair.
        settings: settings of the study.
        progress: called with the number of images read, and an upper bound of their number: fewer are read if
            checks share an upside-down image.

    Raises:
        UserError: if a file is missing or unreadable, a pair has several appearance images or regions, the settings
            require more trials or checks than possible or have an invalid text, or the page becomes too large.
    """
    for name, text in (("title", settings.title), ("question", settings.question)):
        if not is_valid_text(text):
            raise UserError(Argument(name), f" has a NUL or a character that UTF-8 cannot encode: {text!r}")
    pairs = list(read(manifest))
    for pair in pairs:
        pair.check_plain("a study shows one appearance image")
    outputs = find_outputs(methods, pairs)
    names = [method.name for method in methods]
    trials = trials_per_rater(settings.trials, len(pairs), len(methods))
    files = {*outputs.values(), *(path for pair in pairs for path in (pair.structure, pair.appearance))}
    embed = ImageEmbedder(settings.size, lambda done: progress(done, len(files) + settings.checks))
    planned = tuple(_planned_pair(pair, names, outputs, embed) for pair in pairs)
    hashes = {pair.id: frozenset((embed(pair.structure).sha256, embed(pair.appearance).sha256)) for pair in pairs}
    checks = tuple(
        PlannedCheck(pair=pair, method=method, wrong=embed(outputs[other, method], upside_down=True).name)
        for pair, method, other in choose_checks(settings.checks, hashes, names, settings.seed)
    )
    plan = StudyPlan.create(
        title=settings.title, question=settings.question, seed=settings.seed, trials=trials,
        min_view_ms=round(settings.min_view * 1000), methods=tuple(names), pairs=planned, checks=checks,
    )  # fmt: skip
    inputs = (Path(manifest), *files)
    return StudyPage(plan, embed.uris(), tuple(_notes(pairs, names, outputs, embed)), inputs)


def _planned_pair(pair: Pair, names: Sequence[str], outputs: Outputs, embed: ImageEmbedder) -> PlannedPair:
    return PlannedPair(
        id=pair.id,
        set=pair.source,
        structure=embed(pair.structure).name,
        appearance=embed(pair.appearance).name,
        outputs=tuple(embed(outputs[pair.id, name]).name for name in names),
    )


def _notes(pairs: Sequence[Pair], names: Sequence[str], outputs: Outputs, embed: ImageEmbedder) -> Iterator[str]:
    images = {name: {pair.id: embed(outputs[pair.id, name]) for pair in pairs} for name in names}
    for first, second in combinations(names, 2):
        if same := [pair.id for pair in pairs if images[first][pair.id].name == images[second][pair.id].name]:
            yield f"{first} and {second} have the same image for {len(same)} of {len(pairs)} pairs, such as {same[0]}"
    for name in names:
        ratios = {pair.id: images[name][pair.id].aspect / embed(pair.structure).aspect for pair in pairs}
        if deviating := [pair for pair, ratio in ratios.items() if abs(ratio - 1) > ASPECT_TOLERANCE]:
            yield (
                f"outputs of {name} have another aspect ratio than the structure image for {len(deviating)} of "
                f"{len(pairs)} pairs, such as {deviating[0]}: raters can recognise the method unless all methods have "
                "this aspect ratio"
            )


def find_outputs(methods: Sequence[Method], pairs: Sequence[Pair]) -> dict[tuple[str, str], Path]:
    """Find the output of every method for every pair, in any layout that `vitsplice evaluate` reads.

    Raises:
        ConfigError: if there are fewer than two methods, or two with the same name.
        UserError: if there are no pairs, or a method has no output, or more than one, for a pair.
        ImageError: if an output belongs to an unfinished run.
    """
    names = [method.name for method in methods]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"a study compares two or more methods with different names, not {', '.join(names) or 'none'}"
        )
    if not pairs:
        raise UserError("the manifest contains no pairs")
    candidates = {(pair.id, method.name): [*method.outputs(pair.id)] for method in methods for pair in pairs}
    for name in names:
        if several := [pair.id for pair in pairs if len(candidates[pair.id, name]) > 1]:
            paths = " and ".join(map(str, candidates[several[0], name]))
            raise UserError(f"method {name} has more than one output for {several[0]}: {paths}; keep one of them")
        if missing := [pair.id for pair in pairs if not candidates[pair.id, name]]:
            shown = ", ".join(missing[:SHOWN_IN_ERRORS]) + (", ..." if len(missing) > SHOWN_IN_ERRORS else "")
            raise UserError(
                f"method {name} has no output for {len(missing)} of {len(pairs)} pairs: {shown}; a study needs an "
                f"output of every method for every pair of the manifest, in {LAYOUT}"
            )
    outputs = {key: path for key, [path] in candidates.items()}
    for path in outputs.values():
        read_optimised(path)  # raises for the output of an unfinished run
    return outputs


def trials_per_rater(requested: int | None, pairs: int, methods: int) -> int:
    """Return the number of comparisons for each rater; None requests all, but at most `DEFAULT_TRIALS`.

    Raises:
        ConfigError: if more comparisons are requested than there are, or fewer than 1.
    """
    available = pairs * comb(methods, 2)
    if requested is None:
        return min(available, DEFAULT_TRIALS)
    if requested < 1:
        raise ConfigError(Argument("trials", requested), " is not allowed; give at least 1")
    if requested > available:
        raise ConfigError(
            Argument("trials", requested),
            f" is more than the {available} comparisons of {pairs} pairs of images and {comb(methods, 2)} pairs of "
            f"methods; give at most {available}",
        )
    return requested


def choose_checks(
    number: int, images: Mapping[str, frozenset[str]], methods: Sequence[str], seed: int
) -> list[tuple[str, str, str]]:
    """Choose trials with a known answer: a method's output for a pair, beside its output for an unrelated pair.

    The output for the unrelated pair is the wrong answer, and is shown upside down. Checks are spread evenly: any
    two methods have the same number of checks or differ by 1, and so do any two pairs that have an unrelated pair.

    Args:
        number: number of checks.
        images: SHA-256 of the images of each pair by id; pairs that share an image are related.
        methods: names of the methods.
        seed: seed of the choice.

    Returns:
        (id of the pair, method, id of the unrelated pair) of each check.

    Raises:
        ConfigError: if fewer checks are possible.
    """
    rng = random.Random(seed)
    unrelated = {pair: [other for other in images if not images[pair] & images[other]] for pair in images}
    usable = [pair for pair in images if unrelated[pair]]
    order = rng.sample(usable, len(usable))
    if number > len(order) * len(methods):
        raise ConfigError(
            Argument("checks", number),
            f" is more than the {len(order) * len(methods)} possible checks. A check needs two pairs that share no "
            "image; add pairs, or give a smaller ",
            Argument("checks"),
            " (0 for none)",
        )
    pairs = [order[turn % len(order)] for turn in range(number)]
    period = lcm(len(order), len(methods))  # after a period, a shift by one method gives new combinations
    return [
        (pair, methods[(turn + turn // period) % len(methods)], rng.choice(unrelated[pair]))
        for turn, pair in enumerate(pairs)
    ]
