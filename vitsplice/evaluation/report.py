"""Files of an evaluation: values as CSV, the summary as JSON and Markdown, plots as PNG."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from vitsplice.errors import Argument, Setting, format_message
from vitsplice.evaluation import plots
from vitsplice.evaluation.leakage import leakage_warnings
from vitsplice.evaluation.plan import CSV, JSON, MARKDOWN, PLOTS
from vitsplice.evaluation.summary import DIGITS, EvaluationSummary, MethodScore, MetricSummary
from vitsplice.support import output_folder
from vitsplice.support.jsonl import JsonLinesLog, Keys
from vitsplice.support.tables import csv_row, escape_markdown, markdown_table
from vitsplice.text import with_count

BEST = "*"
MARKS = {"network": "†", "term": "‡", "unknown": "?", "none": ""}
LEGEND = (
    f"mean [95 % interval]; {BEST} best mean over the pairs for which all methods have a value, or best value of a "
    f"metric over a set of outputs; biased in favour of the method: {MARKS['network']} it used the metric's network, "
    f"{MARKS['term']} it optimised a loss term like the metric; {MARKS['unknown']} it is unknown what it used; mean "
    f"rank: over the metrics that rank all methods and are marked {MARKS['network']} or {MARKS['term']} for none"
)

FEW_PAIRS = 10
"""Minimum number of pairs without a warning; intervals over fewer pairs are much too narrow."""

METRIC_COLUMNS = ["metric", "definition", "compared with", "one value per", "networks", "parameters"]
TEST_COLUMNS = ["metric", "methods", "pairs", "difference", "low", "high", "test", "p", "p (Holm)"]
TEST_CAPTION = (
    "Difference of the means, first minus second, over the pairs that both methods have; low, high: its 95 % interval; "
    "p (Holm): p adjusted by Holm's method for the number of comparisons of the metric."
)


def write_report(path: Path, summary: EvaluationSummary, log: JsonLinesLog, keys: Keys) -> None:
    """Write values, summary and plots, and remove earlier plots that have no data now.

    Raises:
        VitspliceError: if a file cannot be written.
    """
    rows = (row.encode() for row in _csv_rows(summary, log, keys))
    data = json.dumps(summary.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    output_folder.write(path, {CSV: rows, JSON: data.encode(), MARKDOWN: markdown(summary).encode()})
    drawn = {f"{drawing.name}.png": drawing.png() for drawing in plots.drawings(summary)}
    output_folder.write(path, drawn)
    for name in {*PLOTS} - drawn.keys():
        with suppress(OSError):
            (path / name).unlink()


def _csv_rows(summary: EvaluationSummary, log: JsonLinesLog, keys: Keys) -> Iterator[str]:
    """One row per measured output, in the order of the pairs; one column per metric over pairs, empty without a value.

    ``keys``: keys of the records, ``(methods, pairs)``; 0: not measured.
    """
    names = [name for name, metric in summary.metrics.items() if metric.over == "pair"]
    yield csv_row(["method", "id", *names])
    for key in keys.T.ravel():
        if key:
            record = log[int(key)]
            yield csv_row([record["method"], record["id"], *(record["metrics"].get(name) for name in names)])


def markdown(summary: EvaluationSummary) -> str:
    """Format the summary as Markdown."""
    pairs = with_count(summary.pairs, "pair")
    lines = ["# Evaluation", "", f"{pairs}. {LEGEND}.", "", markdown_table(*score_table(summary))]
    for heading, notes in (("Warnings", warnings(summary)), ("Missing values", missing_values(summary))):
        if items := [f"- {escape_markdown(note)}" for note in notes]:
            lines += ["", f"## {heading}", "", *items]
    lines += ["", "## Metrics", "", markdown_table(METRIC_COLUMNS, metric_rows(summary))]
    if rows := [[number(c) if isinstance(c, float) else str(c) for c in row] for row in test_rows(summary)]:
        lines += ["", "## Tests", "", TEST_CAPTION, "", markdown_table(TEST_COLUMNS, rows)]
    return "\n".join(lines) + "\n"


def score_table(summary: EvaluationSummary) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the scores: one row per metric, and the mean rank."""
    rows = [
        [name, metric.better, *(score_cell(metric, method) for method in summary.counts)]
        for name, metric in summary.metrics.items()
    ]
    if any(math.isfinite(rank) for rank in summary.mean_ranks.values()):
        rows.append(["mean rank", "lower", *map(number, summary.mean_ranks.values())])
    return ["metric", "better", *summary.counts], rows


def score_cell(metric: MetricSummary, method: str) -> str:
    """Format a mean with its interval and marks."""
    score = metric.methods[method]
    marks = BEST * (method in metric.best) + MARKS[score.leakage] * score.known
    return f"{score.interval.format(number)}{' ' if marks else ''}{marks}"


def number(value: float) -> str:
    """Format a number; NaN is a dash."""
    return f"{value:.{DIGITS}g}" if math.isfinite(value) else "-"


def warnings(summary: EvaluationSummary, write: Callable[[Argument | Setting], str] = str) -> Iterator[str]:
    """Yield warnings about leakage, methods measured on different pairs, shared images and few pairs.

    Args:
        summary: summary of the evaluation.
        write: function that formats arguments in a warning.
    """
    for method, optimised in summary.optimised.items():
        scores = {name: metric.methods[method] for name, metric in summary.metrics.items()}
        leakages = {name: score.leakage for name, score in scores.items() if score.known}
        yield from leakage_warnings(method, optimised, leakages)
    if unknown := [name for name, optimised in summary.optimised.items() if optimised is None]:
        yield format_message(
            (
                f"it is unknown what these methods optimised: {', '.join(unknown)}; metrics may be biased in their "
                "favour. State the backbones that each of them used, with ",
                Argument("optimised", dict.fromkeys(unknown, ("BACKBONE",))),
                ", or that it used none, with ",
                Argument("optimised", dict.fromkeys(unknown, ())),
            ),
            write,
        )
    if differing := [name for name, metric in summary.metrics.items() if _pairs_differ(metric)]:
        yield (
            f"the means of {', '.join(differing)} are over different pairs for different methods and cannot be "
            f"compared; the marks {BEST} and the ranks are over the pairs that all methods have, each test over those "
            "that both of its methods have"
        )
    if differing := [name for name, metric in summary.metrics.items() if _set_sizes_differ(metric)]:
        yield (
            f"the values of {', '.join(differing)} are of sets of different sizes for different methods and cannot be "
            "compared"
        )
    if (images := summary.measured).shared:
        yield (
            f"some of the {images.pairs} pairs share an image ({images.structure_images} different structure images, "
            f"{images.appearance_images} different appearance images) and are not independent, so intervals are too "
            "narrow and p values too small"
        )
    measured = {name: counts.measured for name, counts in summary.counts.items()}
    if few := [f"{name}: {pairs}" for name, pairs in measured.items() if pairs < FEW_PAIRS]:
        yield (
            f"few pairs are measured ({', '.join(few)}): with fewer than {FEW_PAIRS} the intervals are much too "
            "narrow, and differences hardly generalise to other pairs"
        )


def _pairs_differ(metric: MetricSummary) -> bool:
    """Return True if a method has a value for a pair for which another method has none."""
    scores = metric.methods.values()
    return metric.over == "pair" and any(score.interval.n > metric.common_pairs for score in scores)


def _set_sizes_differ(metric: MetricSummary) -> bool:
    """Return True if the sets of a metric over sets have different numbers of outputs for different methods."""
    return metric.over == "set" and len({score.interval.n for score in metric.methods.values() if score.known}) > 1


def missing_values(summary: EvaluationSummary) -> Iterator[str]:
    """Describe outputs and metrics without values, and the reasons."""
    for name, counts in summary.counts.items():
        if counts.missing or counts.unusable:
            yield f"{name}: {counts.measured} of {summary.pairs} pairs measured, {counts.failures}"
    for name, metric in summary.metrics.items():
        if methods := [_incomplete(*item, metric.over) for item in metric.methods.items() if item[1].missing]:
            yield f"{name}: no value for {', '.join(methods)}"
    for name, reason in summary.unavailable.items():
        yield f"{name} is unavailable: {reason}"


def _incomplete(method: str, score: MethodScore, over: str) -> str:
    """Describe which values of a metric over ``pair`` or ``set`` a method lacks, and why."""
    outputs = f"{with_count(score.missing, 'output')} of " if over == "pair" else ""
    return f"{outputs}{method} ({score.reason or 'undefined'})"


def metric_rows(summary: EvaluationSummary) -> Iterator[list[str]]:
    """Yield the rows of a table with `METRIC_COLUMNS`."""
    for name, metric in summary.metrics.items():
        networks = ", ".join(network.name for network in metric.networks) or "none"
        parameters = ", ".join(f"{key} {value}" for key, value in metric.parameters.items()) or "none"
        yield [name, metric.definition, metric.against, metric.over, networks, parameters]


def test_rows(summary: EvaluationSummary) -> Iterator[list[str | float]]:
    """Yield the rows of a table with `TEST_COLUMNS`."""
    for name, metric in summary.metrics.items():
        for comparison in metric.comparisons:
            test, interval = comparison.test, comparison.interval
            methods = f"{comparison.first}, {comparison.second}"
            ends = (interval.low, interval.high)
            yield [name, methods, test.n, test.mean, *ends, test.test, test.p, comparison.adjusted_p]
