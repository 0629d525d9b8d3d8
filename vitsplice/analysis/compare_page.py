"""The report of a comparison: plots, what the images support, tables and images."""

from __future__ import annotations

from vitsplice.analysis import compare_plots as plots
from vitsplice.analysis.comparison import KINDS, ROLES, Comparison
from vitsplice.analysis.findings import findings, shown
from vitsplice.analysis.intervals import Contrast, Quantity, compared, differences, mean_of
from vitsplice.contracts import Role, layer_label
from vitsplice.metrics.independent import CNN, CNN_METRICS
from vitsplice.metrics.statistics import finite_or_none
from vitsplice.runs.record import versions
from vitsplice.support.page import Block, Heading, ImageBlock, ImageGrid, ImageRow, Properties, Table, Text, render

ALL_PAIRS = 6
"""The page has the differences of all pairs of at most so many backbones."""

TESTED = (
    "The higher first; its ratio to the other for selectivity, else the difference, with its 95 % interval over "
    "images. p: exact sign flips for fewer than 13 images, else Wilcoxon's signed-rank test; adjusted by Holm over the "
    "pairs of a quantity. Supported: the interval excludes no difference and the adjusted p is below 0.05. Of more "
    "than 6 backbones only neighbours are shown; all pairs are in differences.csv."
)


def report(comparison: Comparison) -> str:
    """The report as HTML, one file."""
    backbones, images = len(comparison.infos), len(comparison.images)
    lead = (
        f"{images} images, {backbones} {'backbone' if backbones == 1 else 'backbones'}. How much known changes of an "
        "image change the features of each layer. Bars and bands are 95 % intervals over images."
    )
    return render("What backbones encode as structure and as appearance", blocks(comparison), lead)


def blocks(comparison: Comparison) -> list[Block]:
    """What the report shows, top to bottom."""
    return [
        Heading("Structure against appearance, layer by layer"),
        plots.sensitivities(comparison),
        plots.layer_by_layer(comparison),
        Heading("The last layer of each backbone"),
        plots.last_layers(comparison),
        Heading("Agreement of self-similarities"),
        plots.agreements(comparison),
        Heading("What the images support"),
        *[Text(sentence) for sentence in findings(comparison)],
        Heading("What was compared"),
        _backbones(comparison),
        *_transfers(comparison),
        Heading("The last layer in numbers"),
        *[_changes(comparison, role) for role in ROLES],
        *_tests(comparison),
        *_changed(comparison),
        Heading("Images and versions"),
        Properties([("images", ", ".join(comparison.images)), *versions().items()]),
    ]


def _backbones(comparison: Comparison) -> Table:
    rows: list[list[str | float | None]] = [
        [
            name,
            info.structure.facet,
            info.appearance.facet,
            f"{layer_label(0, info.layers)} to {layer_label(-1, info.layers)}",
            f"{info.model}, {info.source}, {info.licence}, {info.sha256[:16] or 'random'}",
        ]
        for name, info in comparison.infos.items()
    ]
    columns = ["backbone", "structure", "appearance", "layers", "model, weights, licence, SHA-256"]
    caption = (
        "The facets compared, at every layer: the self-similarity of the structure facet, and the appearance facet "
        "itself. Layers count from 0 and, in brackets, from the end."
    )
    return Table(columns, rows, caption)


def _changes(comparison: Comparison, role: Role) -> Table:
    figure = f"{role} change"
    names = [change for change in KINDS if any(row.of == change and row.figure == figure for row in comparison.rows)]
    rows: list[list[str | float | None]] = [
        [name, *[shown(mean_of(comparison.per_image(name, -1, figure, [change]))) for change in names]]
        for name in comparison.infos
    ]
    caption = (
        f"How much each change changes the {role} feature of layer -1 ({plots.features(comparison, role)}), relative "
        "to another image, with 95 % intervals over images."
    )
    return Table(["backbone", *names], rows, caption)


def _tests(comparison: Comparison) -> list[Block]:
    """Every backbone against every other, and how far their last layers agree."""
    if len(comparison.infos) < 2:
        return []
    rows = [_tested(one) for quantity in compared(comparison) for one in _selected(comparison, quantity)]
    columns = [
        "quantity, layer -1",
        "higher",
        "lower",
        "ratio or difference",
        "low",
        "high",
        "p, adjusted",
        "supported",
    ]
    return [Table(columns, rows, TESTED), _agreed(comparison)]


def _selected(comparison: Comparison, quantity: Quantity) -> list[Contrast]:
    """All differences, or of many backbones those of neighbours in their order."""
    found = differences(comparison, quantity)
    if len(comparison.infos) <= ALL_PAIRS:
        return found
    order = [one.two for one in found if one.one == found[0].one]
    neighbours = set(zip([found[0].one, *order], order, strict=False))
    return [one for one in found if (one.one, one.two) in neighbours]


def _tested(contrast: Contrast) -> list[str | float | None]:
    mean = contrast.mean
    values = map(finite_or_none, (mean.mean, mean.low, mean.high, contrast.adjusted))
    return [
        contrast.quantity.name, contrast.one[0], contrast.two[0], *values, "yes" if contrast.supported else "no",
    ]  # fmt: skip


def _agreed(comparison: Comparison) -> Table:
    last = [number for number, (_, layer) in enumerate(comparison.places) if layer == -1]
    names, agreed = list(comparison.infos), comparison.agreement
    rows: list[list[str | float | None]] = [
        [
            names[i],
            names[j],
            float(agreed.mean[last[i], last[j]]),
            finite_or_none(float(agreed.reach[last[i], last[j]])),
        ]
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    caption = f"CKA of the self-similarities at layer -1 ({plots.features(comparison, 'structure')})."
    return Table(["one", "other", "CKA", "95 % interval, plus or minus"], rows, caption)


def _transfers(comparison: Comparison) -> list[Block]:
    if not comparison.transfers:
        return []
    grids = [ImageRow(_transfer(comparison, pair)) for pair in comparison.inputs]
    return [Heading("The same transfer with each backbone"), *grids, _metrics(comparison)]


def _transfer(comparison: Comparison, pair: str) -> list[ImageBlock]:
    """Both inputs, then what each backbone made of them."""
    inputs = zip(("structure image", "appearance image"), comparison.inputs[pair], strict=True)
    made = [(name, pixels) for (name, of), pixels in comparison.transfers.items() if of == pair]
    return [ImageBlock(pixels, caption, f"{caption}, {pair}") for caption, pixels in [*inputs, *made]]


def _metrics(comparison: Comparison) -> Table:
    names = list(dict.fromkeys(row.of for row in comparison.rows if row.figure == "transfer"))
    values = {(name, of): comparison.transferred(name, of) for name in comparison.infos for of in names}
    pairs = max(map(len, values.values()))
    rows: list[list[str | float | None]] = [
        [name, *[shown(mean_of(values[name, of])) for of in names]] for name in comparison.infos
    ]
    caption = "Metrics of the output images; lower is better. "
    caption += f"Means over {pairs} pairs." if pairs > 1 else "One pair: an illustration, no comparison."
    if CNN in comparison.infos and set(CNN_METRICS) & set(names):
        caption += f" {' and '.join(CNN_METRICS)} are measured with {CNN}: they do not count for its own images."
    return Table(["backbone", *names], rows, caption)


def _changed(comparison: Comparison) -> list[Block]:
    """Every change of the first image."""
    if not comparison.changed:
        return []
    images = [ImageBlock(pixels, name) for name, pixels in comparison.changed.items()]
    rows = [(kind, [p for p in images if KINDS[p.caption] == kind]) for kind in ("appearance", "structure")]
    return [Heading(f"The changes, of {comparison.images[0]}"), ImageGrid([""] * 5, rows)]
