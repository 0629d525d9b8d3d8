"""The report of a comparison: plots, tables and pictures, and what they say."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from vitsplice.analysis.comparison import KINDS, Comparison
from vitsplice.analysis.encoding import ALPHA
from vitsplice.analysis.findings import ROLES, findings
from vitsplice.facts import versions
from vitsplice.figures import CNN, NEED_A_CNN
from vitsplice.report.page import Block, Facts, Grid, Heading, Picture, Plot, Table, Text, plot, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAD = (
    "How much changes of a picture change what each layer of a backbone says of it: 0 is not at all, 1 as much as "
    "another picture would."
)


def report(comparison: Comparison) -> str:
    """The report as HTML, one file."""
    names = ", ".join(comparison.infos)
    return render(f"What {names} encode", blocks(comparison), LEAD)


def blocks(comparison: Comparison) -> list[Block]:
    """What the report shows, top to bottom."""
    shown: list[Block] = [Heading("Findings"), *[Text(sentence) for sentence in findings(comparison)]]
    shown += [Heading("Structure against appearance"), *[_map(comparison, role) for role in ROLES]]
    shown += [_summary(comparison), *[_changes(comparison, role) for role in ROLES]]
    shown += [Heading("Layer by layer"), _by_layer(comparison)]
    shown += [Heading("Agreement of self-similarities"), _agreement(comparison)]
    if comparison.transfers:
        shown += [Heading("The same transfer with each backbone"), *_transfers(comparison)]
    if comparison.changed:
        pictures = [Picture(pixels, name) for name, pixels in comparison.changed.items()]
        rows = [("appearance", "appearance"), ("structure", "structure")]
        grid = Grid([""] * 5, [(word, [p for p in pictures if KINDS[p.caption] == kind]) for word, kind in rows])
        shown += [Heading(f"The changes, of {comparison.pictures[0]}"), grid]
    return [*shown, Heading("Made of"), _facts(comparison)]


def _depths(comparison: Comparison, name: str) -> list[float]:
    layers = comparison.infos[name].layers
    return [number / layers for number in range(1, layers + 1)]


def _layers(comparison: Comparison, name: str) -> range:
    return comparison.infos[name].every_layer


def _map(comparison: Comparison, role: str) -> Plot:
    """Two axes: sensitivity to changes of appearance and of structure; a line through the layers of each backbone."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for name in comparison.infos:
            points = [comparison.sensitivity(name, layer, role) for layer in _layers(comparison, name)]
            (line,) = axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1, label=name)
            axes.plot(*points[-1], marker="o", markersize=9, color=line.get_color())
        axes.axline((0, 0), slope=1, linewidth=0.6, linestyle=":", color="#888888")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("changed by changes of appearance")
        axes.set_ylabel("changed by changes of structure")
        axes.legend(frameon=False)
        axes.grid(alpha=0.2)

    caption = (
        f"The {role} feature of each layer; the large dot is the last. Above the dotted line structure counts more."
    )
    return plot(draw, (6.5, 4.2), caption)


def _summary(comparison: Comparison) -> Table:
    columns = [
        "backbone, last layer",
        *[f"{role} feature: by {kind}" for role in ROLES for kind in ("appearance", "structure")],
    ]
    rows: list[list[str | float | None]] = [
        [name, *[value for role in ROLES for value in comparison.sensitivity(name, -1, role)], *_best(comparison, name)]
        for name in comparison.infos
    ]
    return Table([*columns, f"PCK at {ALPHA}", "parts, mean IoU"], rows)


def _best(comparison: Comparison, name: str) -> list[float | None]:
    values = [comparison.mean(name, -1, figure) for figure in ("pck", "parts")]
    return [value if math.isfinite(value) else None for value in values]


def _changes(comparison: Comparison, role: str) -> Table:
    figure = f"{role} change"
    names = [change for change in KINDS if any(row.of == change and row.figure == figure for row in comparison.rows)]
    rows: list[list[str | float | None]] = [
        [name, *[comparison.mean(name, -1, figure, [change]) for change in names]] for name in comparison.infos
    ]
    return Table(["backbone", *names], rows, f"The {role} feature of the last layer, change by change.")


def _by_layer(comparison: Comparison) -> Plot:
    figures: dict[str, Callable[[str, int], float]] = {
        "selectivity of the structure feature": partial(comparison.selectivity, role="structure"),
        "selectivity of the appearance feature": partial(comparison.selectivity, role="appearance"),
        f"PCK at {ALPHA}, known warps": partial(comparison.mean, figure="pck"),
    }
    if any(row.figure == "parts" for row in comparison.rows):
        figures["parts, mean IoU"] = partial(comparison.mean, figure="parts")

    def draw(figure: Figure) -> None:
        for number, (title, value) in enumerate(figures.items(), 1):
            axes = figure.add_subplot(1, len(figures), number)
            for name in comparison.infos:
                values = [value(name, layer) for layer in _layers(comparison, name)]
                axes.plot(_depths(comparison, name), values, marker="o", markersize=3, linewidth=1, label=name)
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("depth")
            axes.grid(alpha=0.2)
            if number == 1:
                axes.legend(frameon=False, fontsize=7)

    caption = (
        "Selectivity: how many times as much the feature is changed by changes of its own kind as by the others. "
        "Depth: 0 is the picture, 1 the last layer."
    )
    return plot(draw, (3.4 * len(figures), 3.2), caption)


def _agreement(comparison: Comparison) -> Plot:
    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        shown = axes.imshow(comparison.agreement.numpy(), vmin=0, vmax=1, cmap="magma")
        figure.colorbar(shown, ax=axes, label="CKA")
        ends, middles, at = [], [], 0
        for info in comparison.infos.values():
            middles.append(at + info.layers / 2 - 0.5)
            at += info.layers
            ends.append(at - 0.5)
        for end in ends[:-1]:
            axes.axhline(end, color="white", linewidth=0.8)
            axes.axvline(end, color="white", linewidth=0.8)
        names = list(comparison.infos)
        axes.set_xticks(middles, names, fontsize=7)
        axes.set_yticks(middles, names, fontsize=7)
        axes.set_xlabel("layers of each, the last at the right")
        axes.set_ylabel("layers of each, the last at the bottom")

    caption = (
        "Centred kernel alignment of the self-similarities of all layers, the first at the top left; 1 is the same."
    )
    return plot(draw, (8, 5.6), caption)


def _transfers(comparison: Comparison) -> list[Block]:
    labels = list(dict.fromkeys(label for _, label in comparison.transfers))
    rows = [
        (name, [Picture(comparison.transfers[name, label], "", f"{label} with {name}") for label in labels])
        for name in comparison.infos
    ]
    figures = list(dict.fromkeys(row.of for row in comparison.rows if row.figure == "transfer"))
    values: list[list[str | float | None]] = [
        [name, *[comparison.mean(name, -1, "transfer", [figure]) for figure in figures]] for name in comparison.infos
    ]
    told = "Figures of the pictures; lower is better."
    if CNN in comparison.infos and set(NEED_A_CNN) & set(figures):
        told += f" {' and '.join(NEED_A_CNN)} look with {CNN}: of pictures made with it they say little."
    return [Grid(labels, rows), Table(["backbone", *figures], values, told)]


def _facts(comparison: Comparison) -> Facts:
    backbones = [
        (name, f"{info.model}, {info.source}, {info.licence}, weights {info.sha256[:16] or 'random'}")
        for name, info in comparison.infos.items()
    ]
    pictures = ("pictures", ", ".join(comparison.pictures))
    return Facts([*backbones, pictures, *versions().items()])
