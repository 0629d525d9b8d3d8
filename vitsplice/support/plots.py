"""Plots for reports (SVG) and files (PNG), in one style for all reports.

The colours of series can be distinguished with protanopia and deuteranopia and have enough contrast on light and dark
pages; up to 24 series also differ in marker or line style (`styles`).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vitsplice.support.page import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from vitsplice.metrics.statistics import MeanInterval

WIDTH = 9.6
"""Width of wide plots in inches, a little less than that of a page."""

COLOURS = ("#0078B4", "#D86000", "#009C78", "#FC306C", "#4848FC", "#489CB4", "#A84824", "#4884FC")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":")

MUTED = "#808080"
"""Colour of reference lines, with enough contrast on light and dark pages."""

DPI = 150

INK = "#010203"
"""Placeholder for the colour of the page's text, which is light or dark."""


@dataclass(frozen=True)
class Drawing:
    """A plot that has not been drawn yet.

    Args:
        name: name of its file, without suffix.
        draw: function that draws it into a matplotlib figure.
        size: width and height in inches.
        caption: text below it.
    """

    name: str
    draw: Callable[[Figure], object]
    size: tuple[float, float]
    caption: str

    def plot(self) -> Plot:
        """Draw it as a block of a page."""
        return plot(self.draw, self.size, self.caption)

    def png(self) -> bytes:
        """Draw it as a PNG file, dark on white."""
        return png(self.draw, self.size)


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Assign matplotlib's colour, marker and line style to each series; the line style changes after every eighth."""
    return {
        name: {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": LINES[number // len(COLOURS) % len(LINES)],
        }
        for number, name in enumerate(names)
    }


def error_bars(intervals: Sequence[MeanInterval]) -> NDArray[np.float64]:
    """Return the lengths of error bars below and above each mean, ``(2, n)``; 0 for a mean without an interval."""
    ends = np.array([[interval.mean - interval.low, interval.high - interval.mean] for interval in intervals]).T
    return np.asarray(np.nan_to_num(ends).clip(min=0))


def plot(draw: Callable[[Figure], object], size: tuple[float, float] = (7, 3), caption: str = "") -> Plot:
    """Draw a plot for a page, with lines and text in the colour of the page's text.

    Args:
        draw: function that draws into a matplotlib figure.
        size: width and height in inches.
        caption: text below it.
    """
    colours = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": caption, "font.size": 9}
    style |= dict.fromkeys(colours, INK)
    metadata = {"Date": None, "Creator": None}
    svg = _save(draw, size, style, format="svg", transparent=True, metadata=metadata).decode()
    return Plot(svg[svg.index("<svg") :].replace(INK, "currentColor"), caption)


def png(draw: Callable[[Figure], object], size: tuple[float, float], dpi: int = DPI, font_size: int = 9) -> bytes:
    """Draw a plot as a PNG file, dark on white; the same drawing gives the same bytes.

    Args:
        draw: function that draws into a matplotlib figure.
        size: width and height in inches.
        dpi: pixels per inch.
        font_size: size of text in points.
    """
    return _save(draw, size, {"font.size": font_size}, format="png", dpi=dpi, metadata={"Software": None})


def _save(draw: Callable[[Figure], object], size: tuple[float, float], style: dict[Any, Any], **options: Any) -> bytes:
    import matplotlib.style
    from matplotlib.figure import Figure

    file = io.BytesIO()
    with matplotlib.style.context(["default", style]):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(file, **options)
    return file.getvalue()
