"""Check iou-mask of `vitsplice evaluate`, and print iou-cosegmentation, on shifted squares, whose IoU is known.

python examples/14_known_masks.py FOLDER

Each image has a coloured square on a background of another colour, with grain. Sides and shifts are multiples of the
patch size of DINOv2 (14 px), so that the IoU of the square and the shifted square follows from their areas. The
structure mask is the square. The exit code is 1 if a value of iou-mask is wrong.
"""

import csv
import sys
from pathlib import Path

import torch

from vitsplice.datasets import Pair, write
from vitsplice.evaluation.evaluate import evaluate
from vitsplice.evaluation.plan import EvaluationPlan, Method
from vitsplice.images import encode_png

PATCH, PATCHES = 14, 24
SCENES = [(8, 2, 0), (12, 0, 4), (10, 3, 2), (6, 6, 0)]
"""Side of the square, shift to the right and shift down, in patches."""


def scene(number, left, top, side):
    """Generate an image with a square, and the mask of the square."""
    rng = torch.Generator().manual_seed(number)
    background, square = torch.rand(2, 3, 1, 1, generator=rng)
    square = (background + 0.5) % 1 * 0.8 + 0.2 * square  # far from the background's colour
    mask = torch.zeros(1, 1, PATCH * PATCHES, PATCH * PATCHES)
    mask[..., PATCH * top : PATCH * (top + side), PATCH * left : PATCH * (left + side)] = 1
    grain = 0.1 * (torch.rand(1, 3, *mask.shape[2:], generator=rng) - 0.5)
    return (background * (1 - mask) + square * mask + grain).clamp(0, 1), mask


def write_pairs(folder):
    """Write the images and their manifest; return its path and the IoU of the shifted output by pair."""
    pairs, known = [], {}
    for name in ("structure", "mask", "itself", "shifted"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, (side, right, down) in enumerate(SCENES):
        name = f"{number}-side{side}-right{right}-down{down}"
        image, mask = scene(number, 4, 5, side)
        shifted, _ = scene(number, 4 + right, 5 + down, side)
        images = {"structure": image, "itself": image, "shifted": shifted, "mask": mask.expand_as(image)}
        paths = {kind: folder / kind / f"{name}.png" for kind in images}
        for kind, pixels in images.items():
            paths[kind].write_bytes(encode_png(pixels))
        pairs.append(Pair(name, paths["structure"], paths["structure"], structure_mask=paths["mask"]))
        overlap = max(side - right, 0) * max(side - down, 0)
        known[name] = overlap / (2 * side * side - overlap)
    write(folder / "pairs.csv", pairs)
    return folder / "pairs.csv", known


folder = Path(sys.argv[1])
manifest, known = write_pairs(folder)
methods = tuple(Method(name, folder / name) for name in ("itself", "shifted"))
evaluate(EvaluationPlan(manifest, methods, ("iou-mask", "iou-cosegmentation")), folder / "metrics", force=True)
errors = 0
with (folder / "metrics" / "values.csv").open() as file:
    for row in csv.DictReader(file):
        expected = known[row["id"]] if row["method"] == "shifted" else 1.0
        value = float(row["iou-mask"])
        errors += abs(value - expected) > 1e-6
        print(f"{row['method']:<8} {row['id']:<24} known {expected:.4f}  iou-mask {value:.4f}", end="  ")
        print(f"iou-cosegmentation {float(row['iou-cosegmentation']):.4f}")
print(f"{errors} of {2 * len(known)} values are wrong")
sys.exit(errors > 0)
