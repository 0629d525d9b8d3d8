"""How the plots of all reports look: the style of each series, intervals as error bars, and a plot as PNG.

Colours can be distinguished with protanopia and deuteranopia, and stand out on light and on dark pages; every series
has a marker of its own too.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vitsplice.support.page import Plot, plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from vitsplice.metrics.statistics import MeanInterval

WIDTH = 9.6
"""Of a plot, in inches: as wide as the page."""

COLOURS = ("#0078B4", "#D86000", "#009C78", "#FC306C", "#4848FC", "#489CB4", "#A84824", "#4884FC")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":")

MUTED = "#808080"
"""Of lines that mark a value, readable on light and on dark."""

DPI = 150


@dataclass(frozen=True)
class Drawing:
    """A plot that is not drawn yet.

    Args:
        name: of its file, without ending.
        draw: draws it into a matplotlib figure.
        size: in inches, width first.
        caption: below it.
    """

    name: str
    draw: Callable[[Figure], object]
    size: tuple[float, float]
    caption: str

    def plot(self) -> Plot:
        """The plot as a block of a page."""
        return plot(self.draw, self.size, self.caption)

    def png(self) -> bytes:
        """The plot as a file, dark on white."""
        return png(self.draw, self.size)


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of each series, as matplotlib takes them; after eight the line is another one."""
    return {
        name: {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": LINES[number // len(COLOURS) % len(LINES)],
        }
        for number, name in enumerate(names)
    }


def reach(means: Sequence[MeanInterval]) -> NDArray[np.float64]:
    """How far intervals reach below and above their means, ``(2, n)``, as error bars; 0 without an interval."""
    ends = np.array([[mean.mean - mean.low, mean.high - mean.mean] for mean in means]).T
    return np.asarray(np.nan_to_num(ends).clip(min=0))


def png(draw: Callable[[Figure], object], size: tuple[float, float], dpi: int = DPI, font: int = 9) -> bytes:
    """A plot as a PNG file, dark on white; the same drawing gives the same bytes.

    Args:
        draw: draws it into a matplotlib figure.
        size: in inches, width first.
        dpi: pixels to an inch.
        font: size of text in points.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    file = io.BytesIO()
    with matplotlib.rc_context({"font.size": font}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()
