"""Ablation of `quick`: metrics over pairs of photographs, with one part of the preset changed at a time.

Each pair is a folder with structure.jpg and appearance.jpg. The values of each run are appended to a CSV file; a
run whose values (of the same variant, pair, size and number of steps) are in it is not repeated. Prints a table in
Markdown: the mean of each metric, and for each variant the 95 % interval of the mean difference from `quick`.

python examples/05_ablation.py FOLDER_OF_PAIRS [--values FILE] [--size 512] [--steps N] [--only NAME ...]
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

import vitsplice
from vitsplice.metrics import RUN_METRICS
from vitsplice.metrics.statistics import mean_with_interval


def without(*terms):
    return tuple(f"terms.{term}.weight=0" for term in terms)


VARIANTS = {
    "quick": (),
    "instant (no training)": ("steps=0",),
    "without the warm start": ("start=structure",),
    "without the ViT's terms": without("structure", "structure-lower", "appearance", "texture"),
    "without the CNN's features": without("detail", "statistics", "structure-detail"),
    "without structure (ViT)": without("structure", "structure-lower"),
    "without appearance ([CLS])": without("appearance"),
    "without texture (ViT)": without("texture"),
    "without detail (CNN)": without("detail"),
    "without statistics (CNN)": without("statistics"),
    "without contrast": without("contrast"),
    "without grain": without("grain"),
    "without structure-detail (CNN)": without("structure-detail"),
    "without the guide": ("terms.texture.options.guide=0.0", "terms.detail.options.guide=0.0"),
    "without patches": without("patches"),
    "without edges": without("edges"),
    "without smoothness": without("smoothness"),
    "colour at every pyramid level": ("generator.options.chroma_from=0",),
    "one stage": ("stages=[{side: 448}]",),
}


def key_of(variant, pair, settings):
    return variant, str(pair), " ".join(settings)


def read_values(path):
    """Return {key: [value of each metric]} of earlier runs."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {tuple(row[:3]): [float(value) for value in row[3:]] for row in csv.reader(file)}


def measured(result, name):
    """Return the values of the metrics of a run; exit if a metric has no value."""
    metrics = [metric for metric in result.metrics if metric.name in RUN_METRICS]
    for metric in metrics:
        if metric.value is None:
            sys.exit(f"{name}: {metric.name} has no value: {metric.reason}; the run is not recorded")
    return [metric.value for metric in metrics]


def complete(values, path, pairs, variants, settings):
    """Run what is missing, and append the values of each run to the file."""
    for variant in variants:
        for pair in pairs:
            key = key_of(variant, pair, settings)
            if key in values:
                continue
            images = pair / "structure.jpg", pair / "appearance.jpg"
            overrides = [*settings, *VARIANTS[variant]]
            result = vitsplice.splice(*images, preset="quick", overrides=overrides)
            values[key] = measured(result, f"{variant}, {pair}")
            with path.open("a", newline="") as file:
                csv.writer(file).writerow([*key, *values[key]])


def table(values, pairs, variants, settings):
    """Return the lines of a table in Markdown."""
    lines = [f"| {len(pairs)} pairs | {' | '.join(RUN_METRICS)} |", "|---" * (len(RUN_METRICS) + 1) + "|"]
    by_variant = {
        variant: np.array([values[key_of(variant, pair, settings)] for pair in pairs]) for variant in variants
    }
    for variant, rows in by_variant.items():
        cells = [f"{mean:.4f}" for mean in rows.mean(0)]
        if variant != "quick" and "quick" in by_variant:
            intervals = [mean_with_interval(difference) for difference in (rows - by_variant["quick"]).T]
            cells = [f"{cell} ({i.low:+.4f} to {i.high:+.4f})" for cell, i in zip(cells, intervals, strict=True)]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path, help="folder of pairs")
    parser.add_argument("--values", type=Path, default=Path("ablation.csv"), help="file of the values of all runs")
    parser.add_argument("--size", type=int, default=512, help="shorter side of the images")
    parser.add_argument("--steps", type=int, default=None, help="number of steps; default: that of the preset")
    parser.add_argument(
        "--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME", help="variants to run"
    )
    arguments = parser.parse_args()
    pairs = sorted(path.parent.resolve() for path in arguments.pairs.glob("*/structure.jpg"))
    if not pairs:
        sys.exit(f"{arguments.pairs} contains no folder with structure.jpg and appearance.jpg")
    settings = [f"size={arguments.size}"] + ([] if arguments.steps is None else [f"steps={arguments.steps}"])
    values = read_values(arguments.values)
    complete(values, arguments.values, pairs, arguments.only, settings)
    print("\n".join(table(values, pairs, arguments.only, settings)))


if __name__ == "__main__":
    main()
