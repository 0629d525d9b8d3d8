"""Tables and files of a benchmark."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from vitsplice.keypoints.summary import ALL, BenchmarkSummary, FeaturePCK
from vitsplice.matching.pck import within
from vitsplice.metrics.statistics import finite_or_none
from vitsplice.support import output_folder
from vitsplice.support.jsonl import JsonLinesLog, Keys
from vitsplice.support.tables import csv_row, escape_markdown, markdown_table
from vitsplice.text import with_count

PAIRS, CSV, JSON, MARKDOWN = "pairs.csv", "summary.csv", "summary.json", "summary.md"


def write_report(folder: Path, summary: BenchmarkSummary, log: JsonLinesLog, keys: Keys) -> None:
    """Write the metrics of every pair, and the summary as CSV, JSON and Markdown.

    Raises:
        VitspliceError: if a file cannot be written.
    """
    files = {
        PAIRS: _pairs_csv(summary, log, keys),
        CSV: _summary_csv(summary),
        JSON: [json.dumps(summary.to_json(), indent=2, allow_nan=False) + "\n"],
        MARKDOWN: [markdown(summary)],
    }
    output_folder.write(folder, {name: (line.encode() for line in lines) for name, lines in files.items()})


def _pairs_csv(summary: BenchmarkSummary, log: JsonLinesLog, keys: Keys) -> Iterator[str]:
    """One row per pair and feature with the numbers of keypoints, excluded keypoints and correct keypoints."""
    names = ("backbone", "facet", "layer", "pair", "category")
    yield csv_row([*names, "keypoints", "outside", *(f"correct@{alpha}" for alpha in summary.alphas)])
    for key in keys[keys != 0].tolist():
        record = log[key]
        correct = [sum(within(error, alpha) for error in record["errors"]) for alpha in summary.alphas]
        yield csv_row([*(record[name] for name in names), len(record["errors"]), record["outside"], *correct])


def _summary_csv(summary: BenchmarkSummary) -> Iterator[str]:
    """One row per feature, category and threshold; in the rows of all pairs, the category is empty."""
    yield csv_row(
        ["backbone", "facet", "layer", "block", "category", "alpha", "per_pair", "low", "high", "interval_type",
         "per_keypoint", "pairs", "keypoints"]
    )  # fmt: skip
    for feature in summary.features:
        layer = feature.request.layer
        names = [feature.backbone.name, feature.request.facet, layer, feature.backbone.block(layer)]
        for category, pck in feature.categories.items():
            for alpha, mean in pck.per_pair.items():
                interval = [finite_or_none(value) for value in (mean.mean, mean.low, mean.high)]
                per_keypoint = finite_or_none(pck.per_keypoint[alpha])
                yield csv_row(
                    [*names, category, alpha, *interval, mean.interval_type, per_keypoint, pck.pairs, pck.keypoints]
                )


def legend(summary: BenchmarkSummary) -> str:
    """Explain the metrics of the table and their intervals."""
    means = [mean for feature in summary.features for mean in feature.categories[ALL].per_pair.values()]
    types = dict.fromkeys(mean.interval_type for mean in means if mean.interval_type)
    interval = f" [95 % interval, {' or '.join(types)}, computed as if pairs shared no images]" if types else ""
    return f"PCK: mean over pairs{interval}; per keypoint: over all keypoints together"


def score_table(summary: BenchmarkSummary) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the table, one row per feature."""
    rows = []
    for feature in summary.features:
        pck = feature.categories[ALL]
        per_keypoint = " / ".join(map(_number, pck.per_keypoint.values()))
        means = [mean.format(_number) for mean in pck.per_pair.values()]
        rows.append([*feature.label, *means, per_keypoint, str(pck.keypoints), str(pck.pairs)])
    names = [f"PCK@{alpha}" for alpha in summary.alphas]
    return ["backbone", "facet", "layer", *names, "per keypoint", "keypoints", "pairs"], rows


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def notes(summary: BenchmarkSummary) -> Iterator[str]:
    """Describe how many pairs and keypoints are excluded."""
    if summary.counts.missing or summary.counts.unusable:
        yield f"{summary.counts.measured} of {summary.data.count} pairs measured, {summary.counts.failures}"
    feature = summary.features[0]  # all features have the same excluded keypoints
    if feature.outside:
        yield f"excluded: {with_count(feature.outside, 'keypoint')} outside of the image"
    if feature.empty:
        yield f"without keypoints inside their images: {with_count(feature.empty, 'pair')}"


def markdown(summary: BenchmarkSummary) -> str:
    """Format the summary as Markdown."""
    parts = [
        "# Percentage of correct keypoints",
        f"{escape_markdown(summary.data.name)}: {summary.data.count} pairs. {legend(summary)}. PCK@alpha: a keypoint "
        f"is correct if the distance of its match from the true point is at most alpha times {summary.data.reference}.",
        markdown_table(*score_table(summary)),
    ]
    if lines := [f"- {escape_markdown(note)}" for note in notes(summary)]:
        parts += ["## Excluded", "\n".join(lines)]
    names = sorted({name for feature in summary.features for name in feature.categories} - {ALL})
    for alpha in summary.alphas:
        cells = [[*feature.label, *_category_cells(feature, names, alpha)] for feature in summary.features]
        parts.append(f"## PCK@{alpha} by category, mean over pairs")
        parts.append(markdown_table(["backbone", "facet", "layer", *names, "mean of categories"], cells))
    return "\n\n".join(parts) + "\n"


def _category_cells(feature: FeaturePCK, names: list[str], alpha: float) -> list[str]:
    means = [feature.categories[name].per_pair[alpha].mean for name in names]
    return list(map(_number, [*means, feature.mean_of_categories(alpha)]))
