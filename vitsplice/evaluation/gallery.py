"""``gallery.html``: the entire evaluation on one page, with the images of the worst and the best cases.

However many pairs there are, the page has at most `MAX_IMAGES` images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from vitsplice.datasets import Pair, read
from vitsplice.errors import ImageError
from vitsplice.evaluation import plots, report
from vitsplice.evaluation.plan import CSV, EvaluationPlan, Method
from vitsplice.evaluation.summary import EvaluationSummary, MethodScore
from vitsplice.images import read as read_image
from vitsplice.metrics.statistics import finite_or_none
from vitsplice.runs.inputs import appearances_of, described
from vitsplice.support.jsonl import JsonLinesLog, Keys
from vitsplice.support.page import Block, Card, Cards, Heading, Table, Text, Thumbnail, data_uri, render
from vitsplice.support.progress import ProgressReporter
from vitsplice.text import with_count

MAX_IMAGES = 1000

SIDE, QUALITY = 224, 80
"""Maximum of the longer side of an image in pixels, and the quality of its JPEG."""

CellNotes = dict[tuple[int, int], str]
"""(index of the metric, index of the method) -> rank of the case, such as ``2nd worst of 100``."""


def gallery(
    plan: EvaluationPlan,
    summary: EvaluationSummary,
    log: JsonLinesLog,
    keys: Keys,
    progress: ProgressReporter,
) -> str | None:
    """Format the page as HTML; None if the progress reporter stopped the work.

    Args:
        plan: plan of the evaluation.
        summary: summary of the evaluation.
        log: log with a record of each case.
        keys: key in the log of each case, ``(methods, pairs)``; 0 for cases that are not measured.
        progress: progress reporter.
    """
    names = [
        name
        for name, metric in summary.metrics.items()
        if metric.over == "pair" and any(score.known for score in metric.methods.values())
    ]
    appearances = max(len(pair.appearances) for pair in read(plan.pairs, unique=False))
    max_cases = MAX_IMAGES // (1 + appearances + len(plan.methods))
    chosen = choose_cases(summary, names, max_cases) if names else {}
    cards: list[Card] = []
    for index, pair in enumerate(read(plan.pairs, unique=False)):
        if index not in chosen:
            continue
        if progress.stopped():
            return None
        progress.part("gallery", len(cards), len(chosen))
        records = [log[int(key)]["metrics"] if key else {} for key in keys[:, index]]
        values = [[record.get(name) for record in records] for name in names]
        cards.append(_card(plan, pair, values, chosen[index]))
    methods = ", ".join(summary.counts)
    lead = f"{with_count(summary.pairs, 'pair')}; {methods}"
    return render("Evaluation", list(_blocks(summary, names, cards)), lead)


def choose_cases(summary: EvaluationSummary, metrics: Iterable[str], max_cases: int) -> dict[int, CellNotes]:
    """Choose the pairs that the page shows: index of the pair -> notes on its cases.

    If there are at most ``max_cases`` pairs, all are chosen. Otherwise the worst case of each method by each metric is
    chosen first, then the best cases, then the second worst cases, and so on.
    """
    cases: dict[int, CellNotes] = {index: {} for index in range(summary.pairs)} if summary.pairs <= max_cases else {}
    extremes = (
        [*_extremes((row, column), score)]
        for row, name in enumerate(metrics)
        for column, score in enumerate(summary.metrics[name].methods.values())
    )
    for cell, index, note in filter(None, chain.from_iterable(zip_longest(*extremes))):
        if index in cases or len(cases) < max_cases:
            cases.setdefault(index, {}).setdefault(cell, note)
    return cases


def _extremes(cell: tuple[int, int], score: MethodScore) -> Iterator[tuple[tuple[int, int], int, str]]:
    """Yield cell, index of the pair, and rank of the worst case, the best, the second worst, and so on."""
    for rank, indices in enumerate(zip(score.worst, score.best, strict=True), 1):
        for index, end in zip(indices, ("worst", "best"), strict=True):
            yield cell, index, f"{end if rank == 1 else f'{ordinal(rank)} {end}'} of {score.interval.n:,}"


def ordinal(number: int) -> str:
    """Format as 1st, 2nd, 3rd, 4th ...; for numbers from 1 to 10."""
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number, "th")
    return f"{number}{suffix}"


def _card(plan: EvaluationPlan, pair: Pair, values: list[list[float | None]], notes: CellNotes) -> Card:
    names = ("structure", *appearances_of(pair.images))
    inputs = [Thumbnail(_data_uri(pair.images[name]), described(name)) for name in names]
    outputs = [Thumbnail(_output_uri(method, pair.id), method.name) for method in plan.methods]
    return Card(pair.id, inputs, outputs, values, notes)


def _output_uri(method: Method, pair: str) -> str:
    """Encode a small copy of the output for a pair's id; ``""`` if there are none or several, or it cannot be read."""
    try:
        return _data_uri(method.output(pair))
    except ImageError:
        return ""


def _data_uri(path: Path) -> str:
    """Encode a small copy of an image; ``""`` if it cannot be read."""
    try:
        return data_uri(read_image(path).pixels[0], SIDE, QUALITY)
    except ImageError:
        return ""


def _blocks(summary: EvaluationSummary, metrics: list[str], cards: list[Card]) -> Iterator[Block]:
    yield from (Text(line, highlighted=True) for line in report.warnings(summary))
    yield Table(*report.score_table(summary), report.LEGEND)
    if missing := list(report.missing_values(summary)):
        yield Heading("Missing values")
        yield from map(Text, missing)
    for drawing in plots.drawings(summary):
        yield Heading(plots.HEADINGS[drawing.name])
        yield drawing.plot()
    if metrics:
        yield from _cases(summary, metrics, cards)
    yield Heading("Metrics")
    yield Table(report.METRIC_COLUMNS, list(report.metric_rows(summary)))
    if rows := [list(map(_cell, row)) for row in report.test_rows(summary)]:
        yield Heading("Tests")
        yield Table(report.TEST_COLUMNS, rows, report.TEST_CAPTION)


def _cell(value: str | float) -> str | float | None:
    return finite_or_none(value) if isinstance(value, float) else value


def _cases(summary: EvaluationSummary, metrics: list[str], cards: Sequence[Card]) -> Iterator[Block]:
    higher = {name: summary.metrics[name].better == "higher" for name in metrics}
    selection = "All pairs"
    if len(cards) < summary.pairs:
        selection = f"{len(cards):,} of {summary.pairs:,} pairs, the worst and the best of each method by each metric"
    yield Heading("Cases")
    yield Text(f"{selection}. The values of all outputs are in {CSV}.")
    worst_first = sorted(cards, key=lambda card: _sort_key(card.values[0][0], higher[metrics[0]]))
    yield Cards([*higher.items()], [*summary.counts], worst_first)


def _sort_key(value: float | None, higher_is_better: bool) -> float:
    """Return a key that sorts the worst value first and missing values last."""
    return math.inf if value is None else value if higher_is_better else -value
