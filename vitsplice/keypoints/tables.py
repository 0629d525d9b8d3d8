"""The summary in words: cells of a table, notes, and the whole as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator

from vitsplice.keypoints.summary import ALL, Row, Summary
from vitsplice.metrics.statistics import MeanInterval
from vitsplice.support.tables import markdown_table
from vitsplice.text import printable

ALONE = "per keypoint"


def legend(summary: Summary) -> str:
    """What the metrics of the table are, and how their intervals were made."""
    hows = dict.fromkeys(
        mean.interval_type for row in summary.rows for mean in row.parts[ALL].per_pair.values() if mean.interval_type
    )
    ends = f" [95 % interval, {' or '.join(hows)}, over pairs as if they shared no images]" if hows else ""
    return f"PCK: mean over pairs{ends}; per keypoint: of all keypoints together"


def head(summary: Summary) -> list[str]:
    """The names of the columns."""
    names = [f"PCK@{alpha:g}" for alpha in summary.alphas]
    return ["backbone", "facet", "layer", *names, ALONE, "keypoints", "pairs"]


def rows(summary: Summary) -> Iterator[list[str]]:
    """The cells of the table, a feature a row."""
    for row in summary.rows:
        part = row.parts[ALL]
        alone = " / ".join(number(value) for value in part.per_keypoint.values())
        means = [interval(mean) for mean in part.per_pair.values()]
        yield [*row.name, *means, alone, str(part.keypoints), str(part.pairs)]


def interval(mean: MeanInterval) -> str:
    """A mean, with its interval if it has one."""
    return number(mean.mean) + (f" [{number(mean.low)}, {number(mean.high)}]" if mean.interval_type else "")


def number(value: float) -> str:
    """Three places, or a dash where there is none."""
    return f"{value:.3f}" if math.isfinite(value) else "-"


def notes(summary: Summary) -> Iterator[str]:
    """All that does not count, and why."""
    if summary.account.missing or summary.account.broken:
        yield f"{summary.account.measured} of {summary.data.count} pairs measured, {summary.account.told()}"
    row = summary.rows[0]
    if row.outside:
        yield f"{row.outside} keypoints are outside of their image and do not count"
    if row.empty:
        yield f"{row.empty} pairs have no keypoint that counts"


def markdown(summary: Summary) -> str:
    """The summary as a page of Markdown."""
    lines = ["# Keypoints found again", "", f"{printable(summary.data.name)}: {summary.data.count} pairs. "]
    lines[-1] += f"{legend(summary)}. "
    lines[-1] += f"PCK@a counts a keypoint that is found within a times {summary.data.threshold}."
    lines += ["", markdown_table(head(summary), rows(summary))]
    if found := list(notes(summary)):
        lines += ["", "## What does not count", "", *(f"- {printable(line)}" for line in found)]
    for alpha in summary.alphas:
        lines += ["", f"## PCK@{alpha:g} by category, mean over pairs", ""]
        lines.append(markdown_table(*_by_category(summary, alpha)))
    return "\n".join(lines) + "\n"


def _by_category(summary: Summary, alpha: float) -> tuple[list[str], list[list[str]]]:
    names = sorted({name for row in summary.rows for name in row.parts} - {ALL})
    cells = [[*row.name, *_categories(row, names, alpha)] for row in summary.rows]
    return ["backbone", "facet", "layer", *names, "mean of categories"], cells


def _categories(row: Row, names: list[str], alpha: float) -> list[str]:
    return [*(number(row.parts[name].per_pair[alpha].mean) for name in names), number(row.mean_of_categories(alpha))]
