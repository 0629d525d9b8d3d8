"""Plots of an evaluation: differences of methods, structure against appearance, and the distribution of each metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vitsplice.evaluation.summary import MAX_POINTS, EvaluationSummary, MetricSummary
from vitsplice.metrics.statistics import SIGNIFICANCE, supported
from vitsplice.support.plots import MUTED, WIDTH, Drawing, error_bars, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
"""Maximum number of panels in a row."""

MAX_METHODS_ALL_PAIRS = 4
"""With at most this number of methods, each is compared with every other; with more, each only with the first."""

HEADINGS = {
    "differences": "Differences between methods",
    "scatter": "Structure against appearance",
    "distributions": "Distribution of each metric",
}
"""Name of a drawing -> heading."""

LINE_HEIGHT, PANEL_HEIGHT = 0.24, 0.85
"""Height of a line of a label, and of a panel's title and axis, in inches."""


def drawings(summary: EvaluationSummary) -> list[Drawing]:
    """Return the plots that have data."""
    metrics = [metric for metric in summary.metrics.values() if any(d.box for d in metric.distributions.values())]
    return [*_differences(summary, metrics), *_scatter(summary, metrics), *_distributions(summary, metrics)]


def _differences(summary: EvaluationSummary, metrics: Sequence[MetricSummary]) -> list[Drawing]:
    """Forest plot with one panel per metric."""
    names, style = list(summary.counts), styles(summary.counts)
    pairwise = len(names) <= MAX_METHODS_ALL_PAIRS
    comparisons = {m.name: [c for c in m.comparisons if pairwise or c.first == names[0]] for m in metrics}
    if not any(math.isfinite(c.interval.mean) for of_metric in comparisons.values() for c in of_metric):
        return []
    labels = [f"{c.first}\nminus {c.second}" if pairwise else c.second for c in comparisons[metrics[0].name]]

    def panel(axes: Axes, metric: MetricSummary) -> None:
        for y, comparison in enumerate(comparisons[metric.name]):
            interval, sign = comparison.interval, 1 if pairwise else -1
            method = style[comparison.first if pairwise else comparison.second]
            filled = supported(interval, comparison.adjusted_p)
            axes.errorbar(
                [sign * interval.mean], [y], None, error_bars([interval])[::sign], capsize=3, markersize=6,
                color=method["color"], marker=method["marker"],
                markerfacecolor=method["color"] if filled else "none",
            )  # fmt: skip
        axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")

    minus = "" if pairwise else f" (each method minus {names[0]})"
    caption = (
        f"Mean difference{minus} over the pairs that both methods have, with its 95 % bootstrap interval over pairs. "
        f"Filled: the interval excludes 0 and p, adjusted by Holm, is below {SIGNIFICANCE}; hollow: the pairs do not "
        "support a difference. The table of tests has all comparisons."
    )
    xlabel = f"mean difference{minus}, and its 95 % interval over pairs"
    return [_panels("differences", metrics, labels, panel, xlabel, caption)]


def _scatter(summary: EvaluationSummary, metrics: Sequence[MetricSummary]) -> list[Drawing]:
    """Metric of structure against metric of appearance: a point per pair, and the mean of each method."""
    appearance, structure = (_preferred(metrics, against) for against in ("appearance", "structure"))
    if appearance is None or structure is None:
        return []
    both = (appearance, structure)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for name, style in styles(summary.counts).items():
            points = [metric.distributions[name].points for metric in both]
            axes.plot(*points, color=style["color"], marker=style["marker"], linestyle="none", markersize=3, alpha=0.35)
        for name, style in styles(summary.counts).items():
            x, y = (metric.methods[name].interval for metric in both)
            axes.errorbar(
                [x.mean], [y.mean], error_bars([y]), error_bars([x]), color=style["color"], marker=style["marker"],
                markersize=10, linestyle="none", label=name, zorder=3,
            )  # fmt: skip
        _orient_axes(axes, *both)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)

    leaked = [metric.name for metric in both if metric.leaked]
    caption = (
        f"{structure.name} against {appearance.name}; better values are up and right. "
        f"Large markers: means with 95 % intervals; small ones: pairs, at most {MAX_POINTS} a method"
        f"{''.join(f'; {name} is biased in favour of a method (see the table)' for name in leaked)}."
    )
    return [Drawing("scatter", draw, (WIDTH, 5.0), caption)]


def _orient_axes(axes: Axes, across: MetricSummary, up: MetricSummary) -> None:
    """Label the axes, and orient them so that better values are right and up."""
    axes.set_xlabel(f"{across.name} ({across.better} is better)")
    axes.set_ylabel(f"{up.name} ({up.better} is better)")
    if across.better == "lower":
        axes.invert_xaxis()
    if up.better == "lower":
        axes.invert_yaxis()
    axes.grid(alpha=0.2)


def _preferred(metrics: Sequence[MetricSummary], against: str) -> MetricSummary | None:
    """Return the first metric that compares the output with the image ``against`` and has no known leakage.

    If all such metrics have leakage, return the first one; if there are no such metrics, return None.
    """
    candidates = [metric for metric in metrics if metric.against == against]
    return next((metric for metric in candidates if not metric.leaked), candidates[0] if candidates else None)


def _distributions(summary: EvaluationSummary, metrics: Sequence[MetricSummary]) -> list[Drawing]:
    """Box plot and points of each method, with one panel per metric."""
    names, style = list(summary.counts), styles(summary.counts)

    def panel(axes: Axes, metric: MetricSummary) -> None:
        for y, name in enumerate(names):
            distribution, colour = metric.distributions[name], style[name]["color"]
            # Points are spread over 7 lines, so that fewer overlap.
            offsets = 0.28 * np.linspace(-1, 1, 7)[np.arange(len(distribution.points)) * 3 % 7]
            axes.plot(
                distribution.points, y + offsets, color=colour, marker=style[name]["marker"], markersize=2.5,
                alpha=0.35, linestyle="none",
            )  # fmt: skip
            if distribution.box:
                _draw_box(axes, y, distribution.box, colour)

    caption = (
        "Values of all pairs of each method: median, quartiles, and whiskers to the last value within 1.5 "
        f"interquartile ranges; points: pairs, at most {MAX_POINTS} a method."
    )
    return [_panels("distributions", metrics, names, panel, "value of a pair", caption)] if metrics else []


def _draw_box(axes: Axes, y: int, box: Sequence[float], colour: str) -> None:
    low, first, median, third, high = box
    axes.barh([y], [third - first], 0.6, [first], fill=False, edgecolor=colour, linewidth=1.2)
    axes.hlines([y, y], [low, third], [first, high], colors=colour, linewidth=1.2)
    axes.vlines([median], y - 0.3, y + 0.3, colors=colour, linewidth=2.5)


def _panels(
    name: str,
    metrics: Sequence[MetricSummary],
    labels: Sequence[str],
    panel: Callable[[Axes, MetricSummary], None],
    xlabel: str,
    caption: str,
) -> Drawing:
    """One panel per metric, with one row per label; only the leftmost panels show the labels."""
    columns = min(COLUMNS, len(metrics))
    rows = math.ceil(len(metrics) / columns)

    def draw(figure: Figure) -> None:
        for number, metric in enumerate(metrics):
            axes = figure.add_subplot(rows, columns, number + 1)
            panel(axes, metric)
            axes.set_title(f"{metric.name}\n{metric.better} is better", fontsize=8)
            axes.set_yticks(range(len(labels)), labels if number % columns == 0 else [], fontsize=7)
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.tick_params(axis="x", labelsize=7)
            axes.locator_params(axis="x", nbins=4)
            axes.ticklabel_format(axis="x", scilimits=(-3, 4))
            axes.xaxis.get_offset_text().set_fontsize(7)
            axes.grid(axis="x", alpha=0.2)
        figure.supxlabel(xlabel, fontsize=8)

    lines = max(label.count("\n") + 1 for label in labels)
    return Drawing(name, draw, (WIDTH, rows * (PANEL_HEIGHT + LINE_HEIGHT * lines * len(labels))), caption)
