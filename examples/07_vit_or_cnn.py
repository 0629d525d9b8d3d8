"""The same transfer with a ViT and with a CNN as the only change, and metrics that belong to neither.

python examples/07_vit_or_cnn.py [BACKBONE BACKBONE] [--steps N] [--size PIXELS]
"""

import argparse

import vitsplice
from vitsplice.images import example

OFFLINE = ["dinov2-vits14-offline", "efficientnet-lite0-offline"]

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("backbones", nargs="*", default=OFFLINE)
parser.add_argument("--steps", type=int, default=40)
parser.add_argument("--size", type=int, default=256)
given = parser.parse_args()

for name in given.backbones:
    result = vitsplice.splice(*example(), backbone=name, steps=given.steps, size=given.size)
    folder = result.save(f"out/example-{name}", force=True)
    print(f"{name}: {folder}")
    for figure in result.metrics:
        print(f"  {figure.name:<22} {figure.value:.4f} against the {figure.against} image; lower is better")
