"""Reports as one HTML file: it opens from disk and asks nothing of any network.

A report is a title and blocks, top to bottom: `render` makes the file. Styles, script and images are in it. The same
blocks give the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup
from PIL import Image

from vitsplice.images import to_pil
from vitsplice.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

LARGEST = 1200
"""ImageRow are shown at most so many pixels a side."""

INK = "#010203"
"""What plots are drawn in; on the page it is the colour of the text, light or dark."""


class _Block:
    """A part of a report."""

    @property
    def kind(self) -> str:
        """Which macro of the template draws it."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Heading(_Block):
    """A section begins."""

    text: str


@dataclass(frozen=True)
class Text(_Block):
    """A paragraph; a ``loud`` one is set apart, for what must not be missed."""

    text: str
    loud: bool = False


@dataclass(frozen=True)
class Facts(_Block):
    """Names and values, one pair a line."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table(_Block):
    """Rows that sort by a click on a column's head; numbers sort as numbers, ``None`` last."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    caption: str = ""


@dataclass(frozen=True)
class ImageBlock(_Block):
    """An image ``(3, H, W)`` in [0, 1] with words below it; its ``alt`` is read where it is not seen."""

    pixels: Tensor
    caption: str = ""
    alt: str = ""


@dataclass(frozen=True)
class ImageRow(_Block):
    """ImageRow side by side that wrap where there is no room."""

    images: Sequence[ImageBlock]


@dataclass(frozen=True)
class Grid(_Block):
    """ImageRow in rows and columns, each with a head; ``None`` leaves a place empty."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[ImageBlock | None]]]


@dataclass(frozen=True)
class Slider(_Block):
    """Two images of one shape over each other, and a handle that uncovers the second."""

    before: ImageBlock
    after: ImageBlock


@dataclass(frozen=True)
class Plot(_Block):
    """A drawing; make one by `plot`."""

    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Details(_Block):
    """Text as it stands (settings, a log), folded away below its summary."""

    summary: str
    text: str


@dataclass(frozen=True)
class Thumbnail:
    """A small image as the address of itself (`data_uri`), which takes little memory; "" leaves its place empty."""

    uri: str
    caption: str = ""


@dataclass(frozen=True)
class Card:
    """ImageRow of one case and numbers of some of them.

    Args:
        title: of the case.
        images: without numbers; they come first.
        columns: one for each column of the numbers.
        values: of each row of `Cards` and each column; ``None`` where there is none.
        notes: (row, column) -> words on that value.
    """

    title: str
    images: Sequence[Thumbnail]
    columns: Sequence[Thumbnail]
    values: Sequence[Sequence[float | None]]
    notes: Mapping[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cards(_Block):
    """Cards in the order of any of their numbers, the worst or the best first; cards without it come last.

    Args:
        rows: the names of the numbers, and whether the higher is better.
        columns: what has those numbers.
        cards: in the order of the first number of the first column, the worst first.
    """

    rows: Sequence[tuple[str, bool]]
    columns: Sequence[str]
    cards: Sequence[Card]


Block = Heading | Text | Facts | Table | ImageBlock | ImageRow | Grid | Slider | Plot | Details | Cards


def render(title: str, blocks: Sequence[Block], lead: str = "") -> str:
    """The report as HTML.

    Args:
        title: of the page.
        blocks: top to bottom.
        lead: a sentence below the title.
    """
    return _template().render(title=title, lead=lead, blocks=blocks)


def plot(draw: Callable[[Figure], object], size: tuple[float, float] = (7, 3), caption: str = "") -> Plot:
    """A plot whose lines and words have the colour of the page's text.

    Args:
        draw: draws into a matplotlib figure.
        size: in inches, width first.
        caption: below it.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    colours = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    settings: dict[Any, Any] = dict.fromkeys(colours, INK) | {
        "svg.fonttype": "none",
        "svg.hashsalt": caption,
        "font.size": 9,
    }
    svg = io.StringIO()
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = svg.getvalue()
    return Plot(drawing[drawing.index("<svg") :].replace(INK, "currentColor"), caption)


def data_uri(pixels: Tensor, largest: int = LARGEST, quality: int = 88) -> str:
    """An image ``(3, H, W)`` in [0, 1] as the address of itself, no larger than so many pixels a side."""
    shown = to_pil(pixels)
    if max(shown.size) > largest:
        scale = largest / max(shown.size)
        size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
        shown = shown.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    shown.save(file, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _number(value: str | float | None) -> str:
    """A value of a table as it is shown."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vitsplice.support"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        "uri": data_uri,
        "shown": _number,
        "plain": lambda text: printable(text, "\n"),
        "safe_svg": Markup,
    }
    environment.globals["zip"] = zip
    return environment.get_template("page.html")
