"""The plots of an evaluation: differences of methods, structure against appearance, and how each metric spreads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vitsplice.evaluation.summary import POINTS, Metrics, Summary, Versus
from vitsplice.metrics.statistics import SIGNIFICANCE, supported
from vitsplice.support.plots import MUTED, WIDTH, Drawing, error_bars, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 3
"""Panels in a row."""

FEW = 4
"""Up to this many methods, all pairs of methods are plotted; with more, each against the first."""

HEADINGS = {
    "differences": "Differences between methods",
    "scatter": "Structure against appearance",
    "distributions": "Distribution of each metric",
}
"""Of each plot, by the name of its drawing."""

LINE, HEAD = 0.24, 0.85
"""Inches of a line of a label, and of a panel's title and axis."""


def drawings(summary: Summary) -> list[Drawing]:
    """The plots that have data."""
    shown = [one for one in summary.metrics.values() if any(spread.box for spread in one.spreads.values())]
    return [*_differences(summary, shown), *_scatter(summary, shown), *_distributions(summary, shown)]


def _differences(summary: Summary, shown: Sequence[Metrics]) -> list[Drawing]:
    """A forest plot, one panel per metric."""
    names, style = list(summary.accounts), styles(summary.accounts)
    tested = {one.spec.name: _tests(one, names) for one in shown}
    if not any(math.isfinite(test.interval.mean) for tests in tested.values() for test in tests):
        return []
    every = len(names) <= FEW
    first = tested[shown[0].spec.name]
    labels = [f"{test.one}\nminus {test.two}" if every else _other(test, names) for test in first]

    def panel(axes: Axes, one: Metrics) -> None:
        for place, test in enumerate(tested[one.spec.name]):
            sign = 1 if every or test.one != names[0] else -1
            whose = style[test.one if every else _other(test, names)]
            axes.errorbar(
                [sign * test.interval.mean], [place], None, error_bars([test.interval])[:: sign],
                capsize=3, markersize=6, color=whose["color"], marker=whose["marker"],
                markerfacecolor=whose["color"] if supported(test.interval, test.adjusted) else "none",
            )  # fmt: skip
        axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")

    caption = (
        f"MeanInterval difference over the pairs that both methods have, with its 95 % bootstrap interval over pairs"
        f"{'' if every else f'; each method minus {names[0]}'}. Filled: the interval excludes 0 and p, adjusted by "
        f"Holm, is below {SIGNIFICANCE}; hollow: the pairs do not support a difference. The table of tests has all."
    )
    below = f"mean difference{'' if every else f', each method minus {names[0]}'}, and its 95 % interval over pairs"
    return [_panels("differences", shown, labels, panel, below, caption)]


def _tests(one: Metrics, names: Sequence[str]) -> list[Versus]:
    return [test for test in one.tests if len(names) <= FEW or names[0] in (test.one, test.two)]


def _other(test: Versus, names: Sequence[str]) -> str:
    return test.two if test.one == names[0] else test.one


def _scatter(summary: Summary, shown: Sequence[Metrics]) -> list[Drawing]:
    """A metric of structure against one of appearance: a point per pair, and the mean of each method."""
    pair = [_chosen(shown, against) for against in ("appearance", "structure")]
    across, up = pair
    if across is None or up is None:
        return []
    both = (across, up)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for name, style in styles(summary.accounts).items():
            look = {"color": style["color"], "marker": style["marker"], "linestyle": "none"}
            axes.plot(*(one.spreads[name].points for one in both), markersize=3, alpha=0.35, **look)
        for name, style in styles(summary.accounts).items():
            x, y = (one.standings[name].mean for one in both)
            axes.errorbar(
                [x.mean], [y.mean], error_bars([y]), error_bars([x]), color=style["color"], marker=style["marker"],
                markersize=10, linestyle="none", label=name, zorder=3,
            )  # fmt: skip
        _toward_better(axes, across, up)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)

    marked = [one.spec.name for one in both if _optimised(one)]
    caption = (
        f"{up.spec.name} against {across.spec.name}; both axes run towards better, so the best is at the top right. "
        f"Large markers: means with 95 % intervals; small ones: pairs, at most {POINTS} a method"
        f"{''.join(f'; a method optimised the network or a term of {name} (see the table)' for name in marked)}."
    )
    return [Drawing("scatter", draw, (WIDTH, 5.0), caption)]


def _toward_better(axes: Axes, across: Metrics, up: Metrics) -> None:
    for one, invert, label in ((across, axes.invert_xaxis, axes.set_xlabel), (up, axes.invert_yaxis, axes.set_ylabel)):
        if one.spec.better == "lower":
            invert()
        label(f"{one.spec.name} ({one.spec.better} is better)")
    axes.grid(alpha=0.2)


def _chosen(shown: Sequence[Metrics], against: str) -> Metrics | None:
    """The first metric that compares with an image, preferably one that no method optimised."""
    of_image = [one for one in shown if one.spec.against == against]
    return next((one for one in of_image if not _optimised(one)), of_image[0] if of_image else None)


def _optimised(one: Metrics) -> bool:
    return any(standing.own in ("network", "term") for standing in one.standings.values())


def _distributions(summary: Summary, shown: Sequence[Metrics]) -> list[Drawing]:
    """Box plot and points of every method, one panel per metric."""
    names, style = list(summary.accounts), styles(summary.accounts)

    def panel(axes: Axes, one: Metrics) -> None:
        for place, name in enumerate(names):
            spread, colour = one.spreads[name], style[name]["color"]
            offsets = 0.28 * np.linspace(-1, 1, 7)[np.arange(len(spread.points)) * 3 % 7]
            axes.plot(
                spread.points, place + offsets, color=colour, marker=style[name]["marker"], markersize=2.5, alpha=0.35,
                linestyle="none",
            )  # fmt: skip
            if spread.box:
                _box(axes, place, spread.box, colour)

    caption = (
        "Values of all pairs of each method: median, quartiles, and whiskers to the last value within 1.5 "
        f"interquartile ranges; points: pairs, at most {POINTS} a method."
    )
    return [_panels("distributions", shown, names, panel, "value of a pair", caption)] if shown else []


def _box(axes: Axes, place: int, quartiles: Sequence[float], colour: str) -> None:
    low, first, median, third, high = quartiles
    axes.barh([place], [third - first], 0.6, [first], fill=False, edgecolor=colour, linewidth=1.2)
    axes.hlines([place, place], [low, third], [first, high], colors=colour, linewidth=1.2)
    axes.vlines([median], place - 0.3, place + 0.3, colors=colour, linewidth=2.5)


def _panels(
    name: str,
    shown: Sequence[Metrics],
    labels: Sequence[str],
    panel: Callable[[Axes, Metrics], None],
    below: str,
    caption: str,
) -> Drawing:
    """One panel per metric, with one line per label; only the leftmost panels show the labels."""
    columns = min(ACROSS, len(shown))
    rows = math.ceil(len(shown) / columns)

    def draw(figure: Figure) -> None:
        for number, one in enumerate(shown):
            axes = figure.add_subplot(rows, columns, number + 1)
            panel(axes, one)
            axes.set_title(f"{one.spec.name}\n{one.spec.better} is better", fontsize=8)
            axes.set_yticks(range(len(labels)), labels if number % columns == 0 else [], fontsize=7)
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.tick_params(axis="x", labelsize=7)
            axes.locator_params(axis="x", nbins=4)
            axes.ticklabel_format(axis="x", scilimits=(-3, 4))
            axes.xaxis.get_offset_text().set_fontsize(7)
            axes.grid(axis="x", alpha=0.2)
        figure.supxlabel(below, fontsize=8)

    lines = max(label.count("\n") + 1 for label in labels)
    return Drawing(name, draw, (WIDTH, rows * (HEAD + LINE * lines * len(labels))), caption)
