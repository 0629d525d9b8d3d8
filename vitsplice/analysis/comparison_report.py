"""HTML report of a comparison: plots, findings, tables and images."""

from __future__ import annotations

import math
import textwrap
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np

from vitsplice.analysis import comparison_statistics as stats
from vitsplice.analysis.comparison import ROLES, TRANSFORM_ROLES, ComparisonData, all_layers
from vitsplice.contracts import Role, layer_label
from vitsplice.metrics.independent import CNN, CNN_METRICS
from vitsplice.metrics.statistics import MeanInterval, finite_or_none
from vitsplice.runs.record import versions
from vitsplice.support.page import (
    Block,
    Heading,
    ImageBlock,
    ImageGrid,
    ImageRow,
    Plot,
    Properties,
    Table,
    Text,
    render,
)
from vitsplice.support.plots import WIDTH, error_bars, plot, styles
from vitsplice.text import with_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME_WIDTH, LINE_HEIGHT, LABEL_HEIGHT = 2.3, 0.24, 10 / 72
"""In inches: width of a backbone's name in a legend, height of a legend's line, height of a label of the CKA plot."""

TITLE_WIDTH = 22
"""Characters in a line of a plot's title."""

MAX_NAMED = 4
"""Maximum number of backbones that captions name; if there are more, captions give their number."""

MAX_FOR_ALL_PAIRS = 6
"""Maximum number of backbones for which the page shows the contrasts of all pairs."""

CONTRASTS_CAPTION = (
    "The backbone with the higher mean is first. Selectivity is compared as the ratio of the first to the second, "
    "other quantities as first minus second, with the 95 % interval over images. p: exact sign-flip test for fewer "
    "than 13 nonzero differences, otherwise Wilcoxon's signed-rank test; adjusted by Holm's method over the pairs of a "
    "quantity. Supported: the interval excludes equality and the adjusted p is below 0.05. For more than "
    f"{MAX_FOR_ALL_PAIRS} backbones only neighbours in rank are shown; all pairs are in differences.csv."
)

Rows = list[list[str | float | None]]


def report(comparison: ComparisonData) -> str:
    """Format the report as one HTML file."""
    backbones, images = len(comparison.infos), len(comparison.images)
    lead = (
        f"{with_count(images, 'image')}, {with_count(backbones, 'backbone')}: how much the features of each layer "
        "change under known transforms of an image. Bars and bands are 95 % intervals over images."
    )
    return render("What backbones encode as structure and as appearance", blocks(comparison), lead)


def blocks(comparison: ComparisonData) -> list[Block]:
    """List the blocks of the report from top to bottom."""
    return [
        Heading("Structure and appearance by layer"),
        _sensitivity_plot(comparison),
        _depth_plot(comparison),
        Heading("The last layer of each backbone"),
        _last_layer_plot(comparison),
        Heading("Agreement of self-similarities"),
        _agreement_plot(comparison),
        Heading("Findings"),
        *[Text(sentence) for sentence in stats.findings(comparison)],
        Heading("Backbones"),
        _backbones_table(comparison),
        *_transfer_blocks(comparison),
        Heading("The last layer in numbers"),
        *[_changes_table(comparison, role) for role in ROLES],
        *_contrast_tables(comparison),
        *_transform_blocks(comparison),
        Heading("Images and versions"),
        Properties([("images", ", ".join(comparison.images)), *versions().items()]),
    ]


def _sensitivity_plot(comparison: ComparisonData) -> Plot:
    def draw(figure: Figure) -> None:
        for number, role in enumerate(ROLES, 1):
            axes = figure.add_subplot(1, 2, number)
            for name, style in styles(comparison.infos).items():
                by_appearance, by_structure = (_intervals(comparison, q, name) for q in stats.SENSITIVITY[role])
                x, y = ([mean.mean for mean in means] for means in (by_appearance, by_structure))
                bars = error_bars(by_structure), error_bars(by_appearance)
                axes.errorbar(x, y, *bars, **style, markersize=3, linewidth=1, elinewidth=0.6)
                axes.plot(x[-1:], y[-1:], **style, markersize=9)
            axes.axline((0, 0), slope=1, linewidth=0.6, linestyle=":", color="#888888")
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
            _label(axes, f"{role} feature", "change by appearance transforms", "change by structure transforms")
        _add_legend(figure, comparison)

    caption = (
        "Change of each feature: 0 is no change, 1 is the change when the image is replaced by another. A line "
        "connects the layers of a backbone; the large marker is the last. Above the dotted line the feature responds "
        "more to structure. "
        f"{_features_sentence(comparison)}"
    )
    return plot(draw, (WIDTH, 4.2 + _legend_height(comparison)), caption)


def _depth_plot(comparison: ComparisonData) -> Plot:
    quantities = stats.tested_quantities(comparison)

    def draw(figure: Figure) -> None:
        for number, quantity in enumerate(quantities, 1):
            axes = figure.add_subplot(1, len(quantities), number)
            for name, style in styles(comparison.infos).items():
                means = _intervals(comparison, quantity, name)
                depths = [comparison.depth(name, layer) for layer in comparison.infos[name].every_layer]
                axes.plot(depths, [mean.mean for mean in means], **style, markersize=3, linewidth=1)
                ends = [mean.low for mean in means], [mean.high for mean in means]
                axes.fill_between(depths, *ends, color=style["color"], alpha=0.2, linewidth=0)
            _label(axes, quantity.name, "depth", "")
        _add_legend(figure, comparison)

    caption = f"Depth: 0 is the image, 1 the last layer (-1). {_features_sentence(comparison)}"
    return plot(draw, (WIDTH, 3.2 + _legend_height(comparison)), caption)


def _last_layer_plot(comparison: ComparisonData) -> Plot:
    quantities, names = stats.tested_quantities(comparison), list(comparison.infos)

    def draw(figure: Figure) -> None:
        first = None
        for number, quantity in enumerate(quantities, 1):
            first = axes = figure.add_subplot(1, len(quantities), number, sharey=first)
            for row, (name, style) in enumerate(styles(names).items()):
                mean = stats.interval(comparison, quantity, (name, -1))
                axes.errorbar([mean.mean], [row], None, error_bars([mean]), **style, markersize=5, capsize=3)
            if quantity.ratio:
                axes.axvline(1, linewidth=0.6, linestyle=":", color="#888888")
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.tick_params(axis="y", labelleft=number == 1)
            _label(axes, quantity.name, "", "")
        if first is not None:
            first.set_ylim(len(names) - 0.5, -0.5)

    caption = (
        f"Layer -1, the last, of each backbone; {len(comparison.images)} images. Selectivity of a feature: its change "
        "by transforms of its own role (structure or appearance), divided by its change by transforms of the other "
        f"role. {_features_sentence(comparison)}"
    )
    return plot(draw, (WIDTH, 1.2 + 0.3 * len(names)), caption)


def _agreement_plot(comparison: ComparisonData) -> Plot:
    """Plot the CKA of all pairs of layers, large enough that labels do not overlap."""
    infos, agreement = comparison.infos, comparison.agreement
    side = max(4.5, LABEL_HEIGHT * len(all_layers(comparison.infos)) / min(info.layers for info in infos.values()))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        image = axes.imshow(agreement.mean.numpy(), vmin=0, vmax=1, cmap="magma")
        figure.colorbar(image, ax=axes, label="CKA", shrink=min(1, 4 / side))
        ends = np.cumsum([info.layers for info in infos.values()]) - 0.5
        centres = [end - info.layers / 2 for end, info in zip(ends.tolist(), infos.values(), strict=True)]
        for end in ends[:-1]:
            axes.axhline(end, color="white", linewidth=0.8)
            axes.axvline(end, color="white", linewidth=0.8)
        axes.set_xticks(centres, list(infos), fontsize=7, rotation=90)
        axes.set_yticks(centres, list(infos), fontsize=7)

    widest = float((agreement.high - agreement.low).max())
    width = f", with 95 % intervals at most {widest:.2g} wide" if math.isfinite(widest) else ""
    caption = (
        "Centred kernel alignment (CKA) of the self-similarities of all layers; within a backbone, layers run from "
        "left to right and from top to bottom. 1: equal up to scale and offset. "
        f"Means over {agreement.n} images{width}. Features: {_features_phrase(comparison, 'structure')}."
    )
    return plot(draw, (side + NAME_WIDTH + 0.9, side + NAME_WIDTH), caption)


def _features_phrase(comparison: ComparisonData, role: Role) -> str:
    """Name the features that are compared in a role, such as ``self-similarity of key (a, b) and map (c)``."""
    by_facet: dict[str, list[str]] = {}
    for name, info in comparison.infos.items():
        by_facet.setdefault(info.default_request(role).facet, []).append(name)
    few = len(comparison.infos) <= MAX_NAMED
    facets = [f"{f} ({', '.join(n) if few else with_count(len(n), 'backbone')})" for f, n in by_facet.items()]
    return f"{'self-similarity of ' if role == 'structure' else ''}{' and '.join(facets)}"


def _features_sentence(comparison: ComparisonData) -> str:
    structure, appearance = (_features_phrase(comparison, role) for role in ROLES)
    return f"Structure feature: {structure}; appearance feature: {appearance}."


def _intervals(comparison: ComparisonData, quantity: stats.Quantity, name: str) -> list[MeanInterval]:
    return [stats.interval(comparison, quantity, (name, layer)) for layer in comparison.infos[name].every_layer]


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(textwrap.fill(title, TITLE_WIDTH), fontsize=9)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.2)


def _legend_columns(comparison: ComparisonData) -> int:
    return min(len(comparison.infos), int(WIDTH / NAME_WIDTH))


def _legend_height(comparison: ComparisonData) -> float:
    return LINE_HEIGHT * math.ceil(len(comparison.infos) / _legend_columns(comparison))


def _add_legend(figure: Figure, comparison: ComparisonData) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=name, **style) for name, style in styles(comparison.infos).items()]
    columns = _legend_columns(comparison)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def _backbones_table(comparison: ComparisonData) -> Table:
    rows: Rows = [
        [
            name,
            info.structure.facet,
            info.appearance.facet,
            f"{layer_label(0, info.layers)} to {layer_label(-1, info.layers)}",
            f"{info.model}, {info.source}, {info.licence}, {info.sha256[:16] or 'unknown'}",
        ]
        for name, info in comparison.infos.items()
    ]
    columns = ["backbone", "structure", "appearance", "layers", "model, weights, licence, SHA-256"]
    caption = (
        "The facets compared at every layer: the self-similarity of the structure facet, and the appearance facet "
        "itself. Layers count from 0 and, in brackets, from the end."
    )
    return Table(columns, rows, caption)


def _changes_table(comparison: ComparisonData, role: Role) -> Table:
    metric = f"{role} change"
    details = {measure.detail for measure in comparison.measures if measure.metric == metric}
    names = [transform for transform in TRANSFORM_ROLES if transform in details]
    rows: Rows = [
        [name, *[stats.format_mean(stats.mean_interval(comparison.per_image(name, -1, metric, [t]))) for t in names]]
        for name in comparison.infos
    ]
    caption = (
        f"Change of the {role} feature of layer -1 ({_features_phrase(comparison, role)}) by each transform, divided "
        "by its change when the image is replaced by another, with 95 % intervals over images."
    )
    return Table(["backbone", *names], rows, caption)


def _contrast_tables(comparison: ComparisonData) -> list[Block]:
    if len(comparison.infos) < 2:
        return []
    rows: Rows = [
        [
            quantity.name, contrast.first[0], contrast.second[0], *stats.interval_cells(contrast.mean),
            finite_or_none(contrast.adjusted), "yes" if contrast.supported else "no",
        ]
        for quantity in stats.tested_quantities(comparison)
        for contrast in _shown_contrasts(comparison, quantity)
    ]  # fmt: skip
    ends = ["ratio or difference", "low", "high"]
    columns = ["quantity, layer -1", "higher", "lower", *ends, "p, adjusted", "supported"]
    return [Table(columns, rows, CONTRASTS_CAPTION), _agreement_table(comparison)]


def _shown_contrasts(comparison: ComparisonData, quantity: stats.Quantity) -> list[stats.Contrast]:
    """List all contrasts, or those of neighbours in rank if there are many backbones."""
    contrasts = stats.last_layer_contrasts(comparison, quantity)
    if len(comparison.infos) <= MAX_FOR_ALL_PAIRS:
        return contrasts
    ranked = [contrasts[0].first, *[c.second for c in contrasts if c.first == contrasts[0].first]]
    neighbours = set(pairwise(ranked))
    return [contrast for contrast in contrasts if (contrast.first, contrast.second) in neighbours]


def _agreement_table(comparison: ComparisonData) -> Table:
    last = [(name, index) for index, (name, layer) in enumerate(all_layers(comparison.infos)) if layer == -1]
    cka = comparison.agreement
    rows: Rows = [
        [first, second, *[finite_or_none(float(values[i, j])) for values in (cka.mean, cka.low, cka.high)]]
        for (first, i), (second, j) in combinations(last, 2)
    ]
    features = _features_phrase(comparison, "structure")
    caption = f"CKA of the self-similarities at layer -1 ({features}), with its 95 % interval over images."
    return Table(["first", "second", "CKA", "low", "high"], rows, caption)


def _transfer_blocks(comparison: ComparisonData) -> list[Block]:
    if not comparison.transfers:
        return []
    rows = []
    for pair, (structure, appearance) in comparison.inputs.items():
        images = {"structure image": structure, "appearance image": appearance}
        images |= {name: pixels for (name, of), pixels in comparison.transfers.items() if of == pair}
        rows.append(ImageRow([ImageBlock(pixels, name, f"{name}, {pair}") for name, pixels in images.items()]))
    return [Heading("The same transfer with each backbone"), *rows, _transfer_metrics(comparison)]


def _transfer_metrics(comparison: ComparisonData) -> Table:
    metrics = list(dict.fromkeys(measure.detail for measure in comparison.measures if measure.metric == "transfer"))
    values = {name: [comparison.transfer_values(name, metric) for metric in metrics] for name in comparison.infos}
    pairs = max(len(per_pair) for columns in values.values() for per_pair in columns)
    rows: Rows = [
        [name, *[stats.format_mean(stats.mean_interval(per_pair)) for per_pair in columns]]
        for name, columns in values.items()
    ]
    caption = "Metrics of the output images; lower is better. "
    caption += f"Means over {pairs} pairs." if pairs > 1 else "One pair: an illustration, not a comparison."
    if CNN in comparison.infos and set(CNN_METRICS) & set(metrics):
        names = " and ".join(CNN_METRICS)
        caption += f" {names} are measured with {CNN}, the backbone of the transfers in its row (metric leakage)."
    return Table(["backbone", *metrics], rows, caption)


def _transform_blocks(comparison: ComparisonData) -> list[Block]:
    if not comparison.transformed:
        return []
    images = [ImageBlock(pixels, name) for name, pixels in comparison.transformed.items()]
    rows = [(kind, [i for i in images if TRANSFORM_ROLES[i.caption] == kind]) for kind in ("appearance", "structure")]
    return [Heading(f"The transforms of {comparison.images[0]}"), ImageGrid([""] * 5, rows)]
