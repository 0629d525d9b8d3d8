"""Ablation of `quick`: mean metrics over pairs of photographs, with one part of the preset changed at a time.

Each pair is a folder with structure.jpg and appearance.jpg. Prints a table in Markdown.

python examples/05_ablation.py FOLDER_OF_PAIRS [--steps N] [--only NAME ...]
"""

import argparse
import sys
import time
from pathlib import Path

import torch

import vitsplice
from vitsplice.metrics import RUN_METRICS

VARIANTS = {
    "quick": (),
    "instant (no training)": ("steps=0",),
    "without the warm start": ("start=structure",),
    "without structure": ("terms.structure.weight=0", "terms.structure-lower.weight=0"),
    "structure at the last layer only": ("terms.structure-lower.weight=0",),
    "without appearance ([CLS])": ("terms.appearance.weight=0",),
    "without texture": ("terms.texture.weight=0",),
    "texture without guide": ("terms.texture.options.guide=0.0",),
    "uniform weights of target patches": ("terms.texture.options.uniform=1.0", "terms.patches.options.uniform=1.0"),
    "without patches": ("terms.patches.weight=0",),
    "without edges": ("terms.edges.weight=0",),
    "without smoothness": ("terms.smoothness.weight=0",),
    "colour at every pyramid level": ("generator.options.chroma_from=0",),
    "one stage": ("stages=[{side: 336}]",),
    "one view": ("views.structure.bank=1", "views.appearance.bank=1"),
    "residual-unet as generator": ("generator.name=residual-unet", "optimiser.lr=0.01"),
}


def measure(pairs, overrides, steps):
    """Return the mean metrics of one variant and the seconds per pair."""
    values, start = [], time.perf_counter()
    for pair in pairs:
        settings = [f"steps={steps}", *overrides] if steps is not None else list(overrides)
        result = vitsplice.splice(pair / "structure.jpg", pair / "appearance.jpg", preset="quick", overrides=settings)
        values.append([metric.value for metric in result.metrics])
    return torch.tensor(values).mean(0).tolist(), (time.perf_counter() - start) / len(pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path, help="folder of pairs")
    parser.add_argument("--steps", type=int, default=None, help="number of steps; default: that of the preset")
    parser.add_argument(
        "--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME", help="variants to run"
    )
    arguments = parser.parse_args()
    pairs = sorted(path.parent for path in arguments.pairs.glob("*/structure.jpg"))
    if not pairs:
        sys.exit(f"{arguments.pairs} contains no folder with structure.jpg and appearance.jpg")
    print(
        f"| {len(pairs)} pairs | {' | '.join(RUN_METRICS)} | seconds |\n|---|{'---|' * (len(RUN_METRICS) + 1)}",
        flush=True,
    )
    for name in arguments.only:
        metrics, seconds = measure(pairs, VARIANTS[name], arguments.steps)
        print(f"| {name} | {' | '.join(f'{value:.4f}' for value in metrics)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
