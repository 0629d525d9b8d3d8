"""The losses of a run as a plot: the weighted total and each term, with where the stages begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitsplice.support.plots import png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vitsplice.engine.loop import Step
    from vitsplice.runs.result import Result

POINTS = 400
"""Most points of a curve."""

SMOOTHED = 40
"""From this many points on, a running mean is drawn too."""

PART = 20
"""The window of the running mean is the number of points divided by this."""

CAPTION = "Total: weighted sum of the terms; terms: unweighted. Lower is better."

Points = list[tuple[int, float]]
Marks = Sequence[tuple[int, str]]


def stage_marks(result: Result) -> list[tuple[int, str]]:
    """The step at which each stage after the first begins, and the size at which it works."""
    from vitsplice.engine.stages import stage_steps

    begins = [indices.start for _, indices in stage_steps(result.settings) if indices]
    sizes = [f"{size['width']}x{size['height']} px" for size in result.facts["sizes"]["working"]]
    return list(zip(begins, sizes, strict=False))[1:]


def curves(steps: Sequence[Step], names: Sequence[str]) -> dict[str, Points]:
    """The total and each term that ran: steps and values, at most `POINTS` each."""
    all_points = {"total": [(step.index, step.total) for step in steps if step.losses]}
    for name in names:
        all_points[name] = [(step.index, step.losses[name]) for step in steps if name in step.losses]
    return {name: points[:: -(-len(points) // POINTS)] for name, points in all_points.items() if points}


def running_mean(values: Sequence[float]) -> list[float]:
    """The moving average, whose window (see `PART`) is truncated at both ends."""
    half = max(1, len(values) // PART) // 2 + 1
    around = [values[max(0, at - half) : at + half + 1] for at in range(len(values))]
    return [sum(near) / len(near) for near in around]


def losses_figure(figure: Figure, steps: Sequence[Step], names: Sequence[str], marks: Marks = ()) -> None:
    """Draw a panel for the total and one for each term that ran: its value (log scale) over the steps.

    Args:
        figure: of matplotlib.
        steps: of the run.
        names: of its terms.
        marks: steps at which something begins, and its name.
    """
    from matplotlib.ticker import MaxNLocator

    shown = curves(steps, names)
    first = None
    for row, (name, points) in enumerate(shown.items()):
        axes = figure.add_subplot(len(shown), 1, row + 1, sharex=first)
        first = first or axes
        _curve(axes, points)
        axes.set_ylabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        for at, words in marks:
            axes.axvline(at, linestyle="--", linewidth=1, color="tab:orange")
            if row == 0:
                axes.text(at, 1.03, f" {words}", transform=axes.get_xaxis_transform(), fontsize="small")
    figure.supxlabel("step")


def _curve(axes: Axes, points: Points) -> None:
    """One loss: as it was, and smoothed if there are many points."""
    at, values = zip(*points, strict=True)
    many = len(points) >= SMOOTHED
    (drawn,) = axes.plot(at, values, marker=None if many else "o", markersize=2.5, linewidth=1, color="tab:blue")
    drawn.set_alpha(0.35 if many else 1)
    if many:
        axes.plot(at, running_mean(values), linewidth=1.6, color="tab:blue")
    if all(value > 0 for value in values):
        axes.set_yscale("log")


def height_for(steps: Sequence[Step], names: Sequence[str]) -> float:
    """Of the figure of losses, in inches."""
    return 1.2 + 1.5 * len(curves(steps, names))


def losses_png(steps: Sequence[Step], names: Sequence[str], marks: Marks = ()) -> bytes:
    """The losses as a PNG."""

    def draw(figure: Figure) -> None:
        losses_figure(figure, steps, names, marks)
        figure.suptitle(CAPTION, fontsize="medium")

    return png(draw, (7, height_for(steps, names)), dpi=110, font_size=10)
