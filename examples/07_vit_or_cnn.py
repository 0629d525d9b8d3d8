"""The same transfer with a ViT and with a CNN, and metrics at the end.

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
arguments = parser.parse_args()

for name in arguments.backbones:
    result = vitsplice.splice(*example(), backbone=name, steps=arguments.steps, size=arguments.size)
    folder = result.save(f"out/example-{name}", force=True)
    print(f"{name}: {folder}")
    for metric in result.metrics:
        value = metric.reason or f"{metric.value:.4f} against the {metric.against} image; lower is better"
        print(f"  {metric.name:<22} {value}")
