"""The summary in words: cells of a table, notes, and the whole as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from vitsplice.evaluation.statistics import Mean
from vitsplice.evaluation.summary import Figures, Summary

OWN, UNKNOWN, BEST = "†", "?", "*"
LEGEND = (
    "mean [95 % interval]; "
    f"{BEST} best mean; {OWN} the method optimised the network of this figure; "
    f"{UNKNOWN} what it optimised is not known"
)


def head(summary: Summary) -> list[str]:
    """The names of the columns."""
    return ["figure", "better", *summary.accounts]


def rows(summary: Summary) -> Iterator[list[str]]:
    """The cells of the table, a figure a row; the mean rank last, where there is one."""
    for name, one in summary.figures.items():
        yield [name, one.spec.better, *(cell(one, method) for method in summary.accounts)]
    if any(math.isfinite(rank) for rank in summary.ranks.values()):
        yield ["mean rank", "lower", *(number(rank) for rank in summary.ranks.values())]


def cell(one: Figures, method: str) -> str:
    """A mean with its interval and marks."""
    standing = one.standings[method]
    marks = BEST * (method in one.best) + {"yes": OWN, "not known": UNKNOWN, "no": ""}[standing.own]
    return f"{interval(standing.mean)}{' ' if marks else ''}{marks}"


def interval(mean: Mean) -> str:
    """A mean, with its interval if it has one."""
    return number(mean.mean) + (f" [{number(mean.low)}, {number(mean.high)}]" if mean.how else "")


def number(value: float) -> str:
    """Four digits, or a dash where there is none."""
    return f"{value:.4g}" if math.isfinite(value) else "-"


def notes(summary: Summary) -> Iterator[str]:
    """All that is missing, and why."""
    for name, account in summary.accounts.items():
        if account.missing or account.broken:
            yield (
                f"{name}: {account.measured} of {summary.pairs} pairs measured, {account.missing} without output, "
                f"{account.broken} broken; " + "; ".join(account.examples)
            )
    for name, one in summary.figures.items():
        for method, standing in one.standings.items():
            if standing.without:
                yield f"{name}: none for {standing.without} of {method}" + (f"; {standing.why}" if standing.why else "")
    for name, why in summary.left_out.items():
        yield f"{name} is left out: {why}"
    if unknown := [name for name, networks in summary.optimised.items() if networks is None]:
        yield f"what {', '.join(unknown)} optimised is not known; say it with --optimised METHOD=BACKBONE, or =none"


def markdown(summary: Summary) -> str:
    """The summary as a page of Markdown."""
    lines = ["# Evaluation", "", f"{summary.pairs} pairs. {LEGEND}.", ""]
    lines += table(head(summary), rows(summary))
    if found := list(notes(summary)):
        lines += ["", "## What is missing", "", *(f"- {_escaped(line)}" for line in found)]
    lines += ["", "## Figures", ""]
    lines += table(["figure", "what it is", "against", "over", "networks", "facts"], _described(summary))
    if tests := list(_tests(summary)):
        lines += ["", "## Tests", "", "The difference is that of the means, the first less the second.", ""]
        lines += table(["figure", "methods", "pairs", "difference", "test", "p", "p (Holm)"], tests)
    return "\n".join(lines) + "\n"


def _described(summary: Summary) -> Iterator[list[str]]:
    for name, one in summary.figures.items():
        networks = ", ".join(info.name for info in one.metric.networks) or "none"
        facts = ", ".join(f"{fact} {value}" for fact, value in one.metric.facts.items()) or "none"
        yield [name, one.spec.summary, one.spec.against, one.spec.over, networks, facts]


def _tests(summary: Summary) -> Iterator[list[str]]:
    for name, one in summary.figures.items():
        for test in one.tests:
            found = test.difference
            numbers = [number(found.mean), found.how, number(found.p), number(test.adjusted)]
            yield [name, f"{test.one}, {test.two}", str(found.n), *numbers]


def table(names: list[str], cells: Iterable[list[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    lines = [names, ["---"] * len(names), *cells]
    return ["| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines]


def _escaped(text: str) -> str:
    """Text that Markdown and HTML take as it is."""
    for special, plain in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("*", "\\*"), ("_", "\\_")):
        text = text.replace(special, plain)
    return text
