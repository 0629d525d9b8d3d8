"""``gallery.html``: the whole evaluation on one page, with images of the worst and the best cases.

However many pairs there are, it shows at most `MOST` images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, zip_longest
from pathlib import Path

from vitsplice.datasets import read
from vitsplice.datasets.manifest import Pair
from vitsplice.errors import ImageError
from vitsplice.evaluation import plots, tables
from vitsplice.evaluation.plan import CSV, Plan
from vitsplice.evaluation.summary import Standing, Summary
from vitsplice.images import read as read_image
from vitsplice.metrics.statistics import finite_or_none
from vitsplice.support.jsonl import JsonLinesLog, Keys
from vitsplice.support.page import Block, Card, Cards, Heading, Table, Text, Thumbnail, data_uri, render
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter

MOST = 1000
"""ImageRow on the page."""

SIDE, QUALITY = 224, 80
"""The longer side of an image in pixels, and the quality of its JPEG."""

Notes = dict[tuple[int, int], str]


def gallery(
    plan: Plan,
    summary: Summary,
    log: JsonLinesLog,
    keys: Keys,
    progress: ProgressReporter = NULL_REPORTER,
) -> str | None:
    """The page as HTML; None if it was stopped.

    Args:
        plan: what was evaluated.
        summary: of it.
        log: the metrics of each output.
        keys: of each case ``(methods, pairs)``, 0 where there is none.
        progress: told how many of how many pairs are done.
    """
    names = [
        name
        for name, one in summary.metrics.items()
        if one.spec.over == "pair" and any(math.isfinite(standing.mean.mean) for standing in one.standings.values())
    ]
    chosen = choose(summary, names, MOST // (2 + len(plan.methods)))
    cards: list[Card] = []
    for place, pair in _pairs(plan.pairs, chosen):
        if progress.stopped():
            return None
        progress.part("gallery", len(cards), len(chosen))
        metrics = [log[int(key)]["metrics"] if key else {} for key in keys[:, place]]
        values = [[one.get(name) for one in metrics] for name in names]
        cards.append(_card(plan, pair, values, chosen[place]))
    shown = [*_words(summary), *_plots(summary), *(_cases(summary, names, cards) if names else ()), *_tables(summary)]
    return render("Evaluation", shown, _lead(summary))


def choose(summary: Summary, names: Iterable[str], most: int) -> dict[int, Notes]:
    """Places of at most so many pairs, and why: (figure, method) -> which of the worst or best it is.

    All pairs, if they are so few. Otherwise the worst of every method by every figure come first, then the best, then
    the second worst, and so on.
    """
    found: dict[int, Notes] = {place: {} for place in range(summary.pairs)} if summary.pairs <= most else {}
    standings = [
        (row, column, standing)
        for row, name in enumerate(names)
        for column, standing in enumerate(summary.metrics[name].standings.values())
    ]
    extremes = ([*_extremes(row, column, standing)] for row, column, standing in standings)
    for where, place, note in filter(None, chain.from_iterable(zip_longest(*extremes))):
        if place in found or len(found) < most:
            found.setdefault(place, {}).setdefault(where, note)
    return found


def _extremes(row: int, column: int, standing: Standing) -> Iterator[tuple[tuple[int, int], int, str]]:
    both = zip(standing.worst, standing.best, strict=True)
    for number, (worst, best) in enumerate(both, 1):
        for place, end in ((worst, "worst"), (best, "best")):
            yield (row, column), place, f"{end if number == 1 else f'{ordinal(number)} {end}'} of {standing.mean.n:,}"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th ...; below 11."""
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }"


def _pairs(manifest: Path, chosen: Mapping[int, Notes]) -> Iterator[tuple[int, Pair]]:
    return ((place, pair) for place, pair in enumerate(read(manifest, unique=False)) if place in chosen)


def _card(plan: Plan, pair: Pair, values: list[list[float | None]], notes: Notes) -> Card:
    images = [Thumbnail(_uri(pair.images[role]), f"{role} image") for role in ("structure", "appearance")]
    return Card(pair.id, images, [Thumbnail(_uri(m.find(pair.id)), m.name) for m in plan.methods], values, notes)


def _uri(path: Path | None) -> str:
    """A small image, "" where there is none that can be read."""
    try:
        return data_uri(read_image(path).pixels[0], SIDE, QUALITY) if path else ""
    except ImageError:
        return ""


def _lead(summary: Summary) -> str:
    methods = ", ".join(summary.accounts)
    return f"{summary.pairs:,} {'pair' if summary.pairs == 1 else 'pairs'}; {methods}"


def _words(summary: Summary) -> Iterator[Block]:
    yield from (Text(line, highlighted=True) for line in tables.warnings(summary))
    yield Table(tables.head(summary), list(tables.rows(summary)), tables.LEGEND)
    if missing := list(tables.notes(summary)):
        yield Heading("What is missing")
        yield from map(Text, missing)


def _plots(summary: Summary) -> Iterator[Block]:
    for drawing in plots.drawings(summary):
        yield Heading(plots.HEADINGS[drawing.name])
        yield drawing.plot()


def _cases(summary: Summary, names: list[str], cards: list[Card]) -> Iterator[Block]:
    higher = {name: summary.metrics[name].spec.better == "higher" for name in names}
    cards = sorted(cards, key=lambda card: _worst_first(card.values[0][0], higher[names[0]]))
    shown = f"{len(cards):,} of {summary.pairs:,} pairs, " if len(cards) < summary.pairs else ""
    why = "the worst and the best of each method by each figure" if shown else "All pairs"
    yield Heading("Cases")
    yield Text(f"{shown}{why}. The metrics of all outputs are in {CSV}.")
    yield Cards([*higher.items()], [*summary.accounts], cards)


def _tables(summary: Summary) -> Iterator[Block]:
    yield Heading("Metrics")
    yield Table(tables.DESCRIBED, list(tables.described(summary)))
    if tested := [
        [finite_or_none(cell) if isinstance(cell, float) else cell for cell in row] for row in tables.tests(summary)
    ]:
        yield Heading("Tests")
        yield Table(tables.TESTS, tested, tables.TESTED)


def _worst_first(value: float | None, higher: bool) -> float:
    return math.inf if value is None else value if higher else -value
