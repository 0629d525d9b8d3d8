"""Statistics of a comparison: means with intervals over images, tests of differences, and sentences about them.

The 95 % intervals are those of `vitsplice.metrics.statistics.mean_with_interval`; differences are paired by image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from vitsplice.analysis.comparison import LAYER_COLUMNS, ComparisonData, Layer, all_layers
from vitsplice.analysis.encoding import PCK_ALPHA
from vitsplice.contracts import ROLES, Role
from vitsplice.metrics.statistics import (
    FEWER_RESAMPLES,
    Array,
    MeanInterval,
    finite_or_none,
    holm,
    mean_with_interval,
    paired_test,
    supported,
)
from vitsplice.support.tables import csv_document

MIN_IMAGES = 6
"""With fewer images no difference is supported: the exact sign-flip test of 5 images has p >= 2 / 2^5 = 0.0625."""

MAX_LISTED = 4
"""Maximum number of backbones or pairs that a sentence lists."""

CAUTION = (
    "Backbones differ in training data, objective, architecture and size at once: no difference can be attributed to "
    "one of these alone, and each holds only for images of this kind."
)


@dataclass(frozen=True)
class Quantity:
    """A quantity of a layer of a backbone, with a value for each image.

    Args:
        name: name in plots, tables and files.
        role: role of the feature that the quantity measures.
        values: function of (comparison, backbone, layer) that returns one value for each image, NaN if it has none;
            for a ratio, its logarithm.
        ratio: use geometric means, and compare layers by their ratio instead of their difference.
    """

    name: str
    role: Role
    values: Callable[[ComparisonData, str, int], Array]
    ratio: bool = False


def _sensitivity(role: Role, kind: Role) -> Quantity:
    values = partial(ComparisonData.sensitivity, role=role, kind=kind)
    return Quantity(f"{role} feature, change by {kind} transforms", role, values)


SENSITIVITY = {role: (_sensitivity(role, "appearance"), _sensitivity(role, "structure")) for role in ROLES}
"""Role -> sensitivity of its feature to appearance transforms and to structure transforms."""

SELECTIVITY = {
    role: Quantity(
        f"selectivity of the {role} feature", role, partial(ComparisonData.log_selectivity, role=role), ratio=True
    )
    for role in ROLES
}
PCK = Quantity(f"PCK at {PCK_ALPHA}", "structure", partial(ComparisonData.per_image, metric="pck"))
PART_IOU = Quantity("parts, mean IoU", "structure", partial(ComparisonData.per_image, metric="part iou"))


def tested_quantities(comparison: ComparisonData) -> list[Quantity]:
    """List the quantities by which backbones are compared; part IoU is among them only if there are masks."""
    parts = [PART_IOU] if any(measure.metric == "part iou" for measure in comparison.measures) else []
    return [*SELECTIVITY.values(), PCK, *parts]


def interval(comparison: ComparisonData, quantity: Quantity, layer: Layer) -> MeanInterval:
    """Compute the mean of a quantity over images with its interval; NaN without values."""
    return mean_interval(quantity.values(comparison, *layer), ratio=quantity.ratio)


def mean_interval(values: ArrayLike, *, ratio: bool = False) -> MeanInterval:
    """Compute the mean of values ``(n,)`` with its interval; for logarithms of ratios, the geometric mean."""
    mean = mean_with_interval(np.asarray(values, np.float64), resamples=FEWER_RESAMPLES)
    if not ratio:
        return mean
    geometric_mean, low, high = np.exp([mean.mean, mean.low, mean.high]).tolist()
    return MeanInterval(geometric_mean, low, high, mean.n, mean.interval_type)


@dataclass(frozen=True)
class Contrast:
    """Comparison of two layers by a quantity, on the images for which both layers have a value.

    Args:
        quantity: the quantity.
        first, second: the layers.
        mean: mean of first minus second or, for a ratio, geometric mean of first / second, with its interval.
        p: two-sided p value of `vitsplice.metrics.statistics.paired_test`.
        adjusted: p value adjusted by Holm's method over the family of contrasts.
    """

    quantity: Quantity
    first: Layer
    second: Layer
    mean: MeanInterval
    p: float
    adjusted: float

    @property
    def supported(self) -> bool:
        """True if the images support that the two layers differ."""
        return supported(self.mean, self.adjusted, no_difference=1 if self.quantity.ratio else 0)


def contrasts(comparison: ComparisonData, quantity: Quantity, pairs: Sequence[tuple[Layer, Layer]]) -> list[Contrast]:
    """Compare pairs of layers as one family of tests."""
    values = {layer: quantity.values(comparison, *layer) for pair in pairs for layer in pair}
    p_values = [paired_test(values[first], values[second]).p for first, second in pairs]
    return [
        Contrast(quantity, *pair, mean_interval(values[pair[0]] - values[pair[1]], ratio=quantity.ratio), p, adjusted)
        for pair, p, adjusted in zip(pairs, p_values, holm(p_values), strict=True)
    ]


def last_layer_contrasts(comparison: ComparisonData, quantity: Quantity) -> list[Contrast]:
    """Compare the last layers of all pairs of backbones; of each pair, the backbone with the higher mean is first."""
    means = {name: interval(comparison, quantity, (name, -1)).mean for name in comparison.infos}
    names = sorted(means, key=lambda name: (math.isnan(means[name]), -means[name]))
    return contrasts(comparison, quantity, [((first, -1), (second, -1)) for first, second in combinations(names, 2)])


def differences_csv(comparison: ComparisonData) -> str:
    """Format the contrasts of all pairs of backbones at the last layer as CSV."""
    rows: list[list[object]] = [
        ["quantity", "layer", "higher", "lower", "compared as", "mean", "low", "high", "images", "p", "p adjusted"]
    ]
    for quantity in tested_quantities(comparison):
        compared_as = "ratio" if quantity.ratio else "difference"
        for contrast in last_layer_contrasts(comparison, quantity):
            row = [quantity.name, -1, contrast.first[0], contrast.second[0], compared_as]
            p_values = map(finite_or_none, (contrast.p, contrast.adjusted))
            rows.append([*row, *interval_cells(contrast.mean), contrast.mean.n, *p_values])
    return csv_document(rows)


def intervals_csv(comparison: ComparisonData) -> str:
    """Format all quantities of all layers with their intervals as CSV."""
    rows: list[list[object]] = [["backbone", "facet", *LAYER_COLUMNS, "quantity", "mean", "low", "high", "images"]]
    sensitivities = [quantity for pair in SENSITIVITY.values() for quantity in pair]
    for quantity in [*sensitivities, *tested_quantities(comparison)]:
        for name, layer in all_layers(comparison.infos):
            mean = interval(comparison, quantity, (name, layer))
            facet = comparison.infos[name].default_request(quantity.role).facet
            cells = [name, facet, *comparison.layer_cells(name, layer), quantity.name]
            rows.append([*cells, *interval_cells(mean), mean.n])
    return csv_document(rows)


def interval_cells(mean: MeanInterval) -> list[float | None]:
    """Return mean, low and high end as table cells."""
    return [finite_or_none(value) for value in (mean.mean, mean.low, mean.high)]


def findings(comparison: ComparisonData) -> list[str]:
    """Describe the differences that the images support, or state that they support none; deterministic.

    For several backbones, `CAUTION` follows the differences.
    """
    number = len(comparison.images)
    if number < MIN_IMAGES:
        return [
            f"{number} images are too few to support a difference: the exact sign-flip test needs {MIN_IMAGES}. "
            "Plots and tables describe these images only."
        ]
    rankings = [_last_layer_sentence(comparison, quantity) for quantity in tested_quantities(comparison)]
    depths = [_depth_sentence(comparison, SELECTIVITY[role]) for role in ROLES]
    if sentences := [sentence for sentence in (*rankings, *depths) if sentence]:
        return [*sentences, CAUTION] if len(comparison.infos) > 1 else sentences
    compared = "backbones" if len(comparison.infos) > 1 else "the first and the last layer"
    return [
        f"No difference between {compared} is supported by these {number} images: for each, the 95 % interval "
        "includes equality, or the adjusted p is at least 0.05. More images may support a difference."
    ]


def _last_layer_sentence(comparison: ComparisonData, quantity: Quantity) -> str:
    """Rank the backbones by a quantity at the last layer; "" unless at least one difference is supported."""
    all_pairs = last_layer_contrasts(comparison, quantity)
    pairs = [contrast for contrast in all_pairs if contrast.mean.n]
    if not any(contrast.supported for contrast in pairs):
        return ""
    ranked = dict.fromkeys(layer for contrast in all_pairs for layer in (contrast.first, contrast.second))
    intervals = {layer[0]: interval(comparison, quantity, layer) for layer in ranked}
    means = [f"{_marked(comparison, name)} {format_mean(mean)}" for name, mean in intervals.items() if mean.n]
    missing = [_marked(comparison, name) for name, mean in intervals.items() if not mean.n]
    without = f"; no value: {', '.join(missing)}" if missing else ""
    listed = ", ".join(means) if len(means) <= MAX_LISTED else f"highest {means[0]}, lowest {means[-1]}"
    return f"{_capitalised(quantity.name)}, layer -1: {listed}; {_indistinct_pairs(comparison, pairs)}{without}."


def _indistinct_pairs(comparison: ComparisonData, pairs: Sequence[Contrast]) -> str:
    indistinct = [
        f"{_marked(comparison, contrast.first[0])} and {_marked(comparison, contrast.second[0])}"
        for contrast in pairs
        if not contrast.supported
    ]
    if not indistinct:
        return "all pairs differ" if len(pairs) > 1 else "the two differ"
    if len(indistinct) <= MAX_LISTED:
        return f"not distinguished: {', '.join(indistinct)}"
    return f"{len(indistinct)} pairs are not distinguished"


def _depth_sentence(comparison: ComparisonData, quantity: Quantity) -> str:
    """List the backbones whose last layer differs from their first; "" if there are none."""
    pairs: list[tuple[Layer, Layer]] = [
        ((name, -1), (name, -info.layers)) for name, info in comparison.infos.items() if info.layers > 1
    ]
    different = [contrast for contrast in contrasts(comparison, quantity, pairs) if contrast.supported]
    listed = ", ".join(f"{_marked(comparison, c.first[0])} {format_mean(c.mean)}" for c in different[:MAX_LISTED])
    more = f", and {len(different) - MAX_LISTED} more" if len(different) > MAX_LISTED else ""
    return f"{_capitalised(quantity.name)}, ratio of the last layer to the first: {listed}{more}." if listed else ""


def _marked(comparison: ComparisonData, name: str) -> str:
    """Return the name of a backbone, marked if the weights are random and the name does not say so."""
    unmarked = name in comparison.untrained and not name.startswith("untrained")
    return f"{name} (untrained)" if unmarked else name


def format_mean(mean: MeanInterval) -> str:
    """Format a mean and its interval with three significant digits."""
    return mean.format(_three_digits)


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".")


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
