"""Reports as one self-contained HTML file: images, styles and script are embedded, and nothing is loaded.

A report is a title and a sequence of blocks, which `render` formats with ``templates/page.html``. The same blocks give
the same bytes.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from vitsplice.images import encode_jpeg
from vitsplice.text import printable

if TYPE_CHECKING:
    from torch import Tensor

MAX_SIDE = 1200
"""Larger images are scaled down to this many pixels on the longer side."""


class Block:
    """A part of a report."""

    @property
    def macro(self) -> str:
        """Key of the macro that formats the block, in ``macros`` of the template."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Heading(Block):
    """The heading of a section."""

    text: str


@dataclass(frozen=True)
class Text(Block):
    """A paragraph; a highlighted one is for what readers must not miss."""

    text: str
    highlighted: bool = False


@dataclass(frozen=True)
class Properties(Block):
    """Names and values, one pair a line."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class FormattedNumber:
    """A number in a table: ``text`` is shown, and ``value`` sorts the rows."""

    value: float
    text: str


Cell = str | float | FormattedNumber | None


@dataclass(frozen=True)
class Table(Block):
    """A table that a click on a column's header sorts.

    Numbers are sorted by value and come before texts, such as the "-" that stands for ``None``.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True)
class ImageBlock(Block):
    """An image ``(3, H, W)`` in [0, 1] with its caption; ``alt``, by default the caption, is for screen readers."""

    pixels: Tensor
    caption: str = ""
    alt: str = ""


@dataclass(frozen=True)
class ImageRow(Block):
    """Images side by side, on as many lines as needed."""

    images: Sequence[ImageBlock]


@dataclass(frozen=True)
class ImageGrid(Block):
    """Images in labelled rows and columns; ``None`` leaves a cell empty."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[ImageBlock | None]]]


@dataclass(frozen=True)
class Slider(Block):
    """Two images of the same aspect ratio with a divider to drag: the first is visible left of it, the second right."""

    before: ImageBlock
    after: ImageBlock


@dataclass(frozen=True)
class Film(Block):
    """Two image sequences of equal length, played together, with a divider like that of `Slider`.

    Args:
        before, after: JPEG files of the input and of the output, at least one each, all of the same size.
        rate: images per second.
        caption: text below the sequences.
    """

    before: Sequence[bytes]
    after: Sequence[bytes]
    rate: float
    caption: str = ""


@dataclass(frozen=True)
class Plot(Block):
    """A plot as SVG; `vitsplice.support.plots.plot` creates one."""

    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Details(Block):
    """Preformatted text (settings, a log) that is collapsed below its summary."""

    summary: str
    text: str


@dataclass(frozen=True)
class Thumbnail:
    """A small encoded image (see `data_uri`); with the URI "", the page has the word "none" instead of an image."""

    uri: str
    caption: str = ""


@dataclass(frozen=True)
class Card:
    """Images of one case, and a table of values below them, such as a pair of images and the outputs of two methods.

    Args:
        title: title of the case.
        images: images without values, such as the inputs; they come first.
        columns: an image for each column of the table, such as the output of a method.
        values: ``values[row][column]``; ``None`` if there is none. Rows and columns are those of `Cards`.
        notes: remarks on values, by (row, column).
    """

    title: str
    images: Sequence[Thumbnail]
    columns: Sequence[Thumbnail]
    values: Sequence[Sequence[float | None]]
    notes: Mapping[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cards(Block):
    """Cards that readers can sort by any of the values, the worst or the best first; cards without the value are last.

    Args:
        rows: name of each row of values, such as a metric, and True if higher is better.
        columns: names of the columns, such as methods.
        cards: cards, sorted by ``values[0][0]``, the worst first.
    """

    rows: Sequence[tuple[str, bool]]
    columns: Sequence[str]
    cards: Sequence[Card]


def render(title: str, blocks: Sequence[Block], lead: str = "") -> str:
    """Format a report as HTML.

    Args:
        title: title of the page.
        blocks: blocks from top to bottom.
        lead: sentence below the title.
    """
    return _template().render(title=title, lead=lead, blocks=blocks)


def data_uri(pixels: Tensor, max_side: int = MAX_SIDE, quality: int = 88) -> str:
    """Encode an image ``(3, H, W)`` in [0, 1] as a data URI of a JPEG, with no side above ``max_side`` pixels."""
    return jpeg_uri(encode_jpeg(pixels, max_side, quality))


def embedded(page: str, title: str, height: str) -> str:
    """Return a page as an element of another page, such as a notebook; ``height`` is a CSS length, such as "48rem"."""
    style = f"width:100%;height:{height};border:0"
    return f'<iframe srcdoc="{html.escape(page)}" title="{html.escape(title)}" style="{style}"></iframe>'


def jpeg_uri(data: bytes) -> str:
    """Return a JPEG file as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _cell(value: Cell) -> str:
    """Format a value of a table or a card."""
    if value is None:
        return "-"
    if isinstance(value, FormattedNumber):
        return value.text
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vitsplice.support"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        "uri": data_uri,
        "jpeg": jpeg_uri,
        "cell": _cell,
        "plain": lambda text: printable(text, "\n"),
        "safe_svg": Markup,
    }
    environment.globals["zip"] = zip
    return environment.get_template("page.html")
