"""The files of a benchmark, made of its log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from vitsplice.keypoints import tables
from vitsplice.keypoints.summary import Summary
from vitsplice.matching.pck import within
from vitsplice.metrics.statistics import finite_or_none
from vitsplice.support import output_folder as folders
from vitsplice.support.jsonl import JsonLinesLog, Keys, write_lines
from vitsplice.support.tables import csv_row

PAIRS, CSV, JSON, MARKDOWN = "pairs.csv", "summary.csv", "summary.json", "summary.md"


def write(path: Path, summary: Summary, log: JsonLinesLog, keys: Keys) -> None:
    """Write the metrics of every pair, and the summary. Raises VitspliceError if one cannot be written."""
    write_lines(path / PAIRS, _pairs(summary, log, keys))
    write_lines(path / CSV, _csv(summary))
    files = {
        JSON: json.dumps(summary.plain(), indent=2, allow_nan=False) + "\n",
        MARKDOWN: tables.markdown(summary),
    }
    folders.write(path, {name: text.encode() for name, text in files.items()})


def _pairs(summary: Summary, log: JsonLinesLog, keys: Keys) -> Iterator[str]:
    """A line a pair and feature: how many keypoints count, and how many of them are found."""
    names = ("backbone", "facet", "layer", "pair", "category")
    yield csv_row([*names, "keypoints", "outside", *(f"found@{alpha:g}" for alpha in summary.alphas)])
    for key in keys[keys != 0].tolist():
        record = log[key]
        found = [sum(within(error, alpha) for error in record["errors"]) for alpha in summary.alphas]
        yield csv_row([*(record[name] for name in names), len(record["errors"]), record["outside"], *found])


def _csv(summary: Summary) -> Iterator[str]:
    """A line a feature, category and threshold; no category is all pairs."""
    yield csv_row(
        ["backbone", "facet", "layer", "block", "category", "alpha", "per_pair", "low", "high", "interval_type",
         "per_keypoint", "pairs", "keypoints"]
    )  # fmt: skip
    for row in summary.rows:
        layer = row.request.layer
        feature = [row.backbone.name, row.request.facet, layer, row.backbone.block(layer)]
        for category, part in row.parts.items():
            for alpha, mean in part.per_pair.items():
                *cells, alone = map(finite_or_none, (mean.mean, mean.low, mean.high, part.per_keypoint[alpha]))
                yield csv_row(
                    [*feature, category, alpha, *cells, mean.interval_type, alone, part.pairs, part.keypoints]
                )
