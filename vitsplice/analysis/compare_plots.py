"""The plots of a comparison. Bars and bands are 95 % intervals over images."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from vitsplice.analysis.comparison import ROLES, Comparison
from vitsplice.analysis.intervals import SENSITIVITY, Quantity, compared, interval
from vitsplice.contracts import Role
from vitsplice.metrics.statistics import MeanInterval
from vitsplice.support.page import Plot
from vitsplice.support.plots import WIDTH, error_bars, plot, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME, LINE, LABEL = 2.3, 0.24, 10
"""Widest name of a backbone in a legend and height of a legend's line, in inches; height of a CKA label, in points."""

TITLE = 22
"""Characters of a line of a plot's title."""

NAMED = 4
"""Captions name up to this many backbones, and give the number of more."""


def features(comparison: Comparison, role: Role) -> str:
    """Which features stand for a role, in words."""
    by_facet: dict[str, list[str]] = {}
    for name, info in comparison.infos.items():
        by_facet.setdefault(info.default_request(role).facet, []).append(name)
    whose = {
        facet: ", ".join(names) if len(comparison.infos) <= NAMED else f"{len(names)} backbones"
        for facet, names in by_facet.items()
    }
    facets = " and ".join(f"{facet} ({names})" for facet, names in whose.items())
    return f"{'self-similarity of ' if role == 'structure' else ''}{facets}"


def sensitivities(comparison: Comparison) -> Plot:
    """Sensitivity to changes of appearance against that to changes of structure, a line through the layers."""

    def draw(figure: Figure) -> None:
        for number, role in enumerate(ROLES, 1):
            axes = figure.add_subplot(1, 2, number)
            for name, style in styles(comparison.infos).items():
                both = [_means(comparison, quantity, name) for quantity in SENSITIVITY[role]]
                x, y = ([mean.mean for mean in means] for means in both)
                axes.errorbar(
                    x, y, error_bars(both[1]), error_bars(both[0]), **style, markersize=3, linewidth=1, elinewidth=0.6
                )
                axes.plot(x[-1:], y[-1:], **style, markersize=9)
            axes.axline((0, 0), slope=1, linewidth=0.6, linestyle=":", color="#888888")
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
            _labelled(axes, f"{role} feature", "change by changes of appearance", "change by changes of structure")
        _legend(figure, comparison)

    caption = (
        "Change of each feature, 0 none, 1 as much as by another image; a line runs through the layers to the last, "
        f"the large dot. Above the dotted line structure counts more. {_compared(comparison)}"
    )
    return plot(draw, (WIDTH, 4.2 + _legend_height(comparison)), caption)


def last_layers(comparison: Comparison) -> Plot:
    """Each quantity of each backbone's last layer."""
    quantities, names = compared(comparison), list(comparison.infos)

    def draw(figure: Figure) -> None:
        first = None
        for number, quantity in enumerate(quantities, 1):
            first = axes = figure.add_subplot(1, len(quantities), number, sharey=first)
            for place, (name, style) in enumerate(styles(comparison.infos).items()):
                mean = interval(comparison, quantity, (name, -1))
                axes.errorbar([mean.mean], [place], None, error_bars([mean]), **style, markersize=5, capsize=3)
            if quantity.ratio:
                axes.axvline(1, linewidth=0.6, linestyle=":", color="#888888")
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.tick_params(axis="y", labelleft=number == 1)
            _labelled(axes, quantity.name, "", "")
        if first is not None:
            first.set_ylim(len(names) - 0.5, -0.5)

    caption = (
        f"Layer -1, the last, of each backbone; {len(comparison.images)} images. Selectivity: how many times as much "
        f"the feature is changed by changes of its own kind as by the others. {_compared(comparison)}"
    )
    return plot(draw, (WIDTH, 1.2 + 0.3 * len(names)), caption)


def layer_by_layer(comparison: Comparison) -> Plot:
    """Each quantity of each layer."""
    quantities = compared(comparison)

    def draw(figure: Figure) -> None:
        for number, quantity in enumerate(quantities, 1):
            axes = figure.add_subplot(1, len(quantities), number)
            for name, style in styles(comparison.infos).items():
                means = _means(comparison, quantity, name)
                depths = [comparison.depth(name, layer) for layer in comparison.infos[name].every_layer]
                axes.plot(depths, [mean.mean for mean in means], **style, markersize=3, linewidth=1)
                ends = [mean.low for mean in means], [mean.high for mean in means]
                axes.fill_between(depths, *ends, color=style["color"], alpha=0.2, linewidth=0)
            _labelled(axes, quantity.name, "depth", "")
        _legend(figure, comparison)

    caption = f"Depth: 0 is the image, 1 the last layer (-1). {_compared(comparison)}"
    return plot(draw, (WIDTH, 3.2 + _legend_height(comparison)), caption)


def agreements(comparison: Comparison) -> Plot:
    """CKA of all layers of all backbones; large enough that no label touches another."""
    infos = comparison.infos
    total, fewest = len(comparison.places), min(info.layers for info in infos.values())
    side = max(4.5, LABEL / 72 * total / fewest)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        shown = axes.imshow(comparison.agreement.mean.numpy(), vmin=0, vmax=1, cmap="magma")
        figure.colorbar(shown, ax=axes, label="CKA", shrink=min(1, 4 / side))
        ends = np.cumsum([info.layers for info in infos.values()]) - 0.5
        middles = [end - info.layers / 2 for end, info in zip(ends.tolist(), infos.values(), strict=True)]
        for end in ends[:-1]:
            axes.axhline(end, color="white", linewidth=0.8)
            axes.axvline(end, color="white", linewidth=0.8)
        axes.set_xticks(middles, list(infos), fontsize=7, rotation=90)
        axes.set_yticks(middles, list(infos), fontsize=7)

    reach = comparison.agreement.reach
    within = f"; 95 % intervals reach at most {float(reach.max()):.2g} to either side" if reach.isfinite().all() else ""
    caption = (
        "Centred kernel alignment of the layers' self-similarities, the first layer of each backbone at its left and "
        f"top; 1 is the same. Means over {comparison.agreement.n} images{within}. "
        f"Compared: {features(comparison, 'structure')}."
    )
    return plot(draw, (side + NAME + 0.9, side + NAME), caption)


def _compared(comparison: Comparison) -> str:
    both = "; ".join(f"{role} feature: {features(comparison, role)}" for role in ROLES)
    return f"{both[:1].upper()}{both[1:]}."


def _means(comparison: Comparison, quantity: Quantity, name: str) -> list[MeanInterval]:
    return [interval(comparison, quantity, (name, layer)) for layer in comparison.infos[name].every_layer]


def _labelled(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(textwrap.fill(title, TITLE), fontsize=9)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.2)


def _columns(comparison: Comparison) -> int:
    return min(len(comparison.infos), int(WIDTH / NAME))


def _legend_height(comparison: Comparison) -> float:
    return LINE * math.ceil(len(comparison.infos) / _columns(comparison))


def _legend(figure: Figure, comparison: Comparison) -> None:
    """Below the plot, where it covers nothing."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=name, **style) for name, style in styles(comparison.infos).items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=_columns(comparison), frameon=False, fontsize=8)
