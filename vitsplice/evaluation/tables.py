"""The summary in words: cells of a table, notes, and the whole as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator

from vitsplice.evaluation.own import warning
from vitsplice.evaluation.summary import DIGITS, Metrics, Summary
from vitsplice.metrics.statistics import MeanInterval
from vitsplice.support.tables import escape_markdown, markdown_table

BEST = "*"
MARKS = {"network": "†", "term": "‡", "not known": "?", "no": ""}
LEGEND = (
    f"mean [95 % interval]; {BEST} best mean over the pairs that all methods have; biased in favour of the method: "
    f"{MARKS['network']} it was made with the metric's network, {MARKS['term']} it had a loss term like the metric; "
    f"{MARKS['not known']} what it optimised is unknown; mean rank: over metrics that are biased for no method"
)

FEW = 10
"""Intervals over fewer pairs are much too narrow."""


DESCRIBED = ["figure", "what it is", "against", "over", "networks", "facts"]
TESTS = ["figure", "methods", "pairs", "difference", "low", "high", "test", "p", "p (Holm)"]
TESTED = "The difference is that of the means, first minus second, on the pairs that both have."


def head(summary: Summary) -> list[str]:
    """The names of the columns."""
    return ["figure", "better", *summary.accounts]


def rows(summary: Summary) -> Iterator[list[str]]:
    """The cells of the table, a metric a row; last the mean rank over those that are biased for no method."""
    for name, one in summary.metrics.items():
        yield [name, one.spec.better, *(cell(one, method) for method in summary.accounts)]
    if any(math.isfinite(rank) for rank in summary.ranks.values()):
        yield ["mean rank", "lower", *(number(rank) for rank in summary.ranks.values())]


def cell(one: Metrics, method: str) -> str:
    """A mean with its interval and marks."""
    standing = one.standings[method]
    marks = BEST * (method in one.best) + MARKS[standing.own] * math.isfinite(standing.mean.mean)
    return f"{interval(standing.mean)}{' ' if marks else ''}{marks}"


def interval(mean: MeanInterval) -> str:
    """A mean, with its interval if it has one."""
    return number(mean.mean) + (f" [{number(mean.low)}, {number(mean.high)}]" if mean.interval_type else "")


def number(value: float) -> str:
    """As it is shown, or a dash where there is none."""
    return f"{value:.{DIGITS}g}" if math.isfinite(value) else "-"


def warnings(summary: Summary) -> Iterator[str]:
    """What must be known before a figure is trusted."""
    for method, optimised in summary.optimised.items():
        standings = {name: one.standings[method] for name, one in summary.metrics.items()}
        owned = {name: one.own for name, one in standings.items() if math.isfinite(one.mean.mean)}
        yield from warning(method, optimised, owned)
    if unknown := [name for name, optimised in summary.optimised.items() if optimised is None]:
        yield (
            f"what {', '.join(unknown)} optimised is unknown, so metrics may be biased in its favour; "
            "give its backbone, or none, as `optimised`"
        )
    if apart := [name for name, one in summary.metrics.items() if _apart(one)]:
        yield (
            f"means of {', '.join(apart)} are over other pairs from method to method, so they cannot be compared; "
            f"{BEST}, ranks and tests are over pairs that all, or both, have"
        )
    if (found := summary.measured).share:
        yield (
            f"the {found.pairs} pairs have {found.structures} structure and {found.appearances} appearance images "
            "between them: pairs that share an image are not independent, so intervals are too narrow and p too small"
        )
    if few := [f"{one.measured} of {name}" for name, one in summary.accounts.items() if one.measured < FEW]:
        yield (
            f"few pairs are measured ({', '.join(few)}): over fewer than {FEW} the intervals are much too narrow, and "
            "differences say little of other pairs"
        )


def _apart(one: Metrics) -> bool:
    """Whether a method has pairs that another has not."""
    return one.spec.over == "pair" and any(standing.mean.n > one.shared for standing in one.standings.values())


def notes(summary: Summary) -> Iterator[str]:
    """All that is missing, and why."""
    for name, account in summary.accounts.items():
        if account.missing or account.broken:
            yield (
                f"{name}: {account.measured} of {summary.pairs} pairs measured, {account.missing} without output, "
                f"{account.broken} broken; " + "; ".join(account.examples)
            )
    for name, one in summary.metrics.items():
        without = {method: standing for method, standing in one.standings.items() if standing.without}
        if without:
            whose = ", ".join(f"{s.without} of {m}" if one.spec.over == "pair" else m for m, s in without.items())
            why = next((s.why for s in without.values() if s.why), "")
            yield f"{name}: none for {whose}; {why or 'there is nothing that it could measure'}"
    for name, why in summary.left_out.items():
        yield f"{name} is left out: {why}"


def markdown(summary: Summary) -> str:
    """The summary as a page of Markdown."""
    lines = ["# Evaluation", "", f"{summary.pairs} pairs. {LEGEND}.", ""]
    lines.append(markdown_table(head(summary), rows(summary)))
    if found := list(warnings(summary)):
        lines += ["", "## Beware", "", *(f"- {escape_markdown(line)}" for line in found)]
    if found := list(notes(summary)):
        lines += ["", "## What is missing", "", *(f"- {escape_markdown(line)}" for line in found)]
    lines += ["", "## Metrics", ""]
    lines.append(markdown_table(DESCRIBED, described(summary)))
    if tested := list(tests(summary)):
        lines += ["", "## Tests", "", TESTED, ""]
        lines.append(
            markdown_table(TESTS, ([number(c) if isinstance(c, float) else str(c) for c in row] for row in tested))
        )
    return "\n".join(lines) + "\n"


def described(summary: Summary) -> Iterator[list[str]]:
    """What each figure is: the cells below `DESCRIBED`."""
    for name, one in summary.metrics.items():
        networks = ", ".join(info.name for info in one.metric.networks) or "none"
        facts = ", ".join(f"{fact} {value}" for fact, value in one.metric.parameters.items()) or "none"
        yield [name, one.spec.summary, one.spec.against, one.spec.over, networks, facts]


def tests(summary: Summary) -> Iterator[list[str | float]]:
    """Every test between two methods: the cells below `TESTS`."""
    for name, one in summary.metrics.items():
        for test in one.tests:
            found = test.difference
            ends = (test.interval.low, test.interval.high)
            yield [name, f"{test.one}, {test.two}", found.n, found.mean, *ends, found.test, found.p, test.adjusted]
