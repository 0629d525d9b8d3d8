"""Plots of a comparison of backbones."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from vitsplice.analysis import comparison_statistics as stats
from vitsplice.analysis.comparison import ComparisonData, all_layers
from vitsplice.contracts import ROLES, Role
from vitsplice.metrics.statistics import MeanInterval
from vitsplice.support.page import Plot
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


def sensitivity_plot(comparison: ComparisonData) -> Plot:
    """Plot the change of each feature by structure transforms against that by appearance transforms."""

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


def depth_plot(comparison: ComparisonData) -> Plot:
    """Plot each tested quantity over the depth of the layer."""
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


def last_layer_plot(comparison: ComparisonData) -> Plot:
    """Plot each tested quantity at the last layer."""
    quantities, names = stats.tested_quantities(comparison), list(comparison.infos)

    def draw(figure: Figure) -> None:
        row_of_axes = figure.subplots(1, len(quantities), sharey=True)
        row_of_axes[0].set_ylim(len(names) - 0.5, -0.5)
        for axes, quantity in zip(row_of_axes, quantities, strict=True):
            for row, (name, style) in enumerate(styles(names).items()):
                mean = stats.interval(comparison, quantity, (name, -1))
                axes.errorbar([mean.mean], [row], None, error_bars([mean]), **style, markersize=5, capsize=3)
            if quantity.ratio:
                axes.axvline(1, linewidth=0.6, linestyle=":", color="#888888")
            axes.set_yticks(range(len(names)), names, fontsize=8)
            _label(axes, quantity.name, "", "")

    caption = (
        f"Layer -1, the last, of each backbone; {len(comparison.images)} images. Selectivity of a feature: its change "
        "by transforms of its own role (structure or appearance), divided by its change by transforms of the other "
        f"role. {_features_sentence(comparison)}"
    )
    return plot(draw, (WIDTH, 1.2 + 0.3 * len(names)), caption)


def agreement_plot(comparison: ComparisonData) -> Plot:
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
        f"Means over {agreement.n} images{width}. Features: {features_phrase(comparison, 'structure')}."
    )
    return plot(draw, (side + NAME_WIDTH + 0.9, side + NAME_WIDTH), caption)


def features_phrase(comparison: ComparisonData, role: Role) -> str:
    """Name the features that are compared in a role, such as ``self-similarity of key (a, b) and map (c)``."""
    names_of: dict[str, list[str]] = {}
    for name, info in comparison.infos.items():
        names_of.setdefault(info.default_request(role).facet, []).append(name)
    lists_names = len(comparison.infos) <= MAX_NAMED
    facets = [
        f"{facet} ({', '.join(names) if lists_names else with_count(len(names), 'backbone')})"
        for facet, names in names_of.items()
    ]
    return f"{'self-similarity of ' if role == 'structure' else ''}{' and '.join(facets)}"


def _features_sentence(comparison: ComparisonData) -> str:
    structure, appearance = (features_phrase(comparison, role) for role in ROLES)
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
