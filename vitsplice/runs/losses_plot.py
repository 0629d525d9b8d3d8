"""Plot of the losses of a run: the weighted total and each term, with a mark at the beginning of each later stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitsplice.engine.stages import stage_steps
from vitsplice.support.plots import png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vitsplice.engine.values import Step
    from vitsplice.runs.record import RunOutput

MAX_POINTS = 400
"""Maximum number of points of a curve."""

MIN_POINTS_OF_MEAN = 40
"""Minimum number of points of a curve whose running mean is drawn."""

WINDOWS = 20
"""The window of the running mean is at least the number of points of the curve divided by this."""

CAPTION = "Total: weighted sum of the terms; terms: unweighted. Lower is better."

Points = list[tuple[int, float]]
Marks = Sequence[tuple[int, str]]


def stage_marks(result: RunOutput) -> list[tuple[int, str]]:
    """Return a mark for each stage but the first: the index of its first step, and its working size as a label.

    Stages that a stopped run has not reached are left out.
    """
    sizes = result.record["sizes"]
    output = sizes["output"]["height"], sizes["output"]["width"]
    first_steps = [indices.start for _, indices in stage_steps(result.settings, output)]
    labels = [f"{size['width']}x{size['height']} px" for size in sizes["working"]]
    marks = list(zip(first_steps, labels, strict=False))[1:]
    return [(step, label) for step, label in marks if step < len(result.losses)]


def curves(steps: Sequence[Step], names: Sequence[str]) -> dict[str, Points]:
    """Return the curves of the total and of each term that was active.

    A curve is subsampled to at most `MAX_POINTS` points, its last point included.
    """
    all_points = {"total": [(step.index, step.total) for step in steps if step.losses]}
    for name in names:
        all_points[name] = [(step.index, step.losses[name]) for step in steps if name in step.losses]
    return {name: _subsampled(points) for name, points in all_points.items() if points}


def _subsampled(points: Points) -> Points:
    every = -(-len(points) // MAX_POINTS)
    return points[(len(points) - 1) % every :: every]


def running_mean(values: Sequence[float]) -> list[float]:
    """Return the running mean of values; its window (`WINDOWS`) is truncated at both ends."""
    half = len(values) // WINDOWS // 2 + 1
    windows = [values[max(0, n - half) : n + half + 1] for n in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def losses_figure(figure: Figure, steps: Sequence[Step], names: Sequence[str], marks: Marks = ()) -> None:
    """Draw a panel for the total and one for each term that was active.

    The scale of a panel is logarithmic if all its values are positive.

    Args:
        figure: matplotlib figure to draw into.
        steps: all steps that the run has taken.
        names: names of the terms.
        marks: steps to mark, with labels.
    """
    from matplotlib.ticker import MaxNLocator

    panels = curves(steps, names)
    first = None
    for row, (name, points) in enumerate(panels.items()):
        axes = figure.add_subplot(len(panels), 1, row + 1, sharex=first)
        first = first or axes
        _draw_curve(axes, points)
        axes.set_ylabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        for step, label in marks:
            axes.axvline(step, linestyle="--", linewidth=1, color="tab:orange")
            if row == 0:
                axes.text(step, 1.03, f" {label}", transform=axes.get_xaxis_transform(), fontsize="small")
    figure.supxlabel("step")


def _draw_curve(axes: Axes, points: Points) -> None:
    indices, values = zip(*points, strict=True)
    smoothed = len(points) >= MIN_POINTS_OF_MEAN
    (line,) = axes.plot(
        indices, values, marker=None if smoothed else "o", markersize=2.5, linewidth=1, color="tab:blue"
    )
    line.set_alpha(0.35 if smoothed else 1)
    if smoothed:
        axes.plot(indices, running_mean(values), linewidth=1.6, color="tab:blue")
    if all(value > 0 for value in values):
        _set_log_scale(axes)


def _set_log_scale(axes: Axes) -> None:
    """Use a log scale with plain labels, such as 0.06: mathtext powers of ten would double the time to draw a plot."""
    from matplotlib.ticker import LogFormatter

    class PlainText(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(PlainText())
    axes.yaxis.set_minor_formatter(PlainText())


def height_for(steps: Sequence[Step], names: Sequence[str]) -> float:
    """Return the height of the plot in inches."""
    return 1.2 + 1.5 * len(curves(steps, names))


def losses_png(steps: Sequence[Step], names: Sequence[str], marks: Marks = ()) -> bytes:
    """Return the plot as a PNG file."""

    def draw(figure: Figure) -> None:
        losses_figure(figure, steps, names, marks)
        figure.suptitle(CAPTION, fontsize="medium")

    return png(draw, (7, height_for(steps, names)), dpi=110, font_size=10)
