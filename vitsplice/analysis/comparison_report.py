"""HTML report of a comparison: plots, findings, tables and images."""

from __future__ import annotations

from itertools import combinations, pairwise

from vitsplice.analysis import comparison_statistics as stats
from vitsplice.analysis.comparison import TRANSFORM_ROLES, ComparisonData, all_layers
from vitsplice.analysis.comparison_plots import (
    agreement_plot,
    depth_plot,
    features_phrase,
    last_layer_plot,
    sensitivity_plot,
)
from vitsplice.contracts import ROLES, Role, layer_label
from vitsplice.metrics.independent import CNN, CNN_METRICS
from vitsplice.metrics.statistics import MeanInterval, finite_or_none
from vitsplice.runs.record import versions
from vitsplice.support.page import (
    Block,
    Cell,
    FormattedNumber,
    Heading,
    ImageBlock,
    ImageGrid,
    ImageRow,
    Properties,
    Table,
    Text,
    render,
)
from vitsplice.text import with_count

MAX_FOR_ALL_PAIRS = 6
"""Maximum number of backbones for which the page shows the contrasts of all pairs."""

CONTRASTS_CAPTION = (
    "The backbone with the higher mean is first. Selectivity is compared as the ratio of the first to the second, "
    "other quantities as first minus second, with the 95 % interval over images. p: exact sign-flip test for fewer "
    "than 13 nonzero differences, otherwise Wilcoxon's signed-rank test; adjusted by Holm's method over the pairs of a "
    "quantity. Supported: the interval excludes equality and the adjusted p is below 0.05. For more than "
    f"{MAX_FOR_ALL_PAIRS} backbones only neighbours in rank are shown; all pairs are in differences.csv."
)

Rows = list[list[Cell]]


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
        sensitivity_plot(comparison),
        depth_plot(comparison),
        Heading("The last layer of each backbone"),
        last_layer_plot(comparison),
        Heading("Agreement of self-similarities"),
        agreement_plot(comparison),
        Heading("Findings"),
        *[Text(sentence) for sentence in stats.findings(comparison)],
        Heading("Backbones"),
        _backbones_table(comparison),
        *_transfer_blocks(comparison),
        Heading("The last layer in numbers"),
        *[_changes_table(comparison, role) for role in ROLES],
        *_pair_tables(comparison),
        *_transform_blocks(comparison),
        Heading("Images and versions"),
        Properties([("images", ", ".join(comparison.images)), *versions().items()]),
    ]


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
        [name, *[_mean_cell(stats.mean_interval(comparison.per_image(name, -1, metric, [t]))) for t in names]]
        for name in comparison.infos
    ]
    caption = (
        f"Change of the {role} feature of layer -1 ({features_phrase(comparison, role)}) by each transform, divided "
        "by its change when the image is replaced by another, with 95 % intervals over images."
    )
    return Table(["backbone", *names], rows, caption)


def _mean_cell(mean: MeanInterval) -> Cell:
    """Format a mean with its interval; None without values."""
    return FormattedNumber(mean.mean, stats.format_mean(mean)) if mean.n else None


def _pair_tables(comparison: ComparisonData) -> list[Block]:
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
    interval_columns = ["ratio or difference", "low", "high"]
    columns = ["quantity, layer -1", "higher", "lower", *interval_columns, "p, adjusted", "supported"]
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
    matrices = (comparison.agreement.mean, comparison.agreement.low, comparison.agreement.high)
    rows: Rows = [
        [first, second, *[finite_or_none(float(matrix[i, j])) for matrix in matrices]]
        for (first, i), (second, j) in combinations(last, 2)
    ]
    features = features_phrase(comparison, "structure")
    caption = f"CKA of the self-similarities at layer -1 ({features}), with its 95 % interval over images."
    return Table(["first", "second", "CKA", "low", "high"], rows, caption)


def _transfer_blocks(comparison: ComparisonData) -> list[Block]:
    if not comparison.transfers:
        return []
    rows = []
    for pair, (structure, appearance) in comparison.inputs.items():
        images = {"structure image": structure, "appearance image": appearance}
        images |= {name: pixels for (name, p), pixels in comparison.transfers.items() if p == pair}
        rows.append(ImageRow([ImageBlock(pixels, name, f"{name}, {pair}") for name, pixels in images.items()]))
    return [Heading("The same transfer with each backbone"), *rows, *_transfer_metrics(comparison)]


def _transfer_metrics(comparison: ComparisonData) -> list[Table]:
    metrics = list(dict.fromkeys(measure.detail for measure in comparison.measures if measure.metric == "transfer"))
    if not metrics:
        return []
    values = {name: [comparison.transfer_values(name, metric) for metric in metrics] for name in comparison.infos}
    pairs = max(len(per_pair) for columns in values.values() for per_pair in columns)
    rows: Rows = [
        [name, *[_mean_cell(stats.mean_interval(per_pair)) for per_pair in columns]] for name, columns in values.items()
    ]
    caption = "Metrics of the output images; lower is better. "
    caption += f"Means over up to {pairs} pairs." if pairs > 1 else "One pair: an illustration, not a comparison."
    if CNN in comparison.infos and set(CNN_METRICS) & set(metrics):
        names = " and ".join(CNN_METRICS)
        caption += f" In the row of {CNN}, {names} are measured with the backbone of the transfers (metric leakage)."
    return [Table(["backbone", *metrics], rows, caption)]


def _transform_blocks(comparison: ComparisonData) -> list[Block]:
    if not comparison.transformed:
        return []
    images = [ImageBlock(pixels, name) for name, pixels in comparison.transformed.items()]
    rows = [(kind, [i for i in images if TRANSFORM_ROLES[i.caption] == kind]) for kind in ("appearance", "structure")]
    columns = [""] * max(len(row) for _, row in rows)
    return [Heading(f"The transforms of {comparison.images[0]}"), ImageGrid(columns, rows)]
