"""Compare the metrics of `quick` with a ViT and with a CNN as its first backbone.

python examples/07_vit_or_cnn.py [BACKBONE BACKBONE] [--steps N] [--size PIXELS]
"""

import argparse

import vitsplice
from vitsplice.images import example

OFFLINE = ["dinov2-vits14-offline", "efficientnet-lite0-offline"]

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("backbones", nargs="*", default=OFFLINE, help="names of backbones")
parser.add_argument("--steps", type=int, default=40, help="number of steps")
parser.add_argument("--size", type=int, default=256, help="shorter side of the images in pixels")
arguments = parser.parse_args()

for name in arguments.backbones:
    result = vitsplice.splice(*example(), backbone=name, steps=arguments.steps, size=arguments.size)
    folder = result.save(f"out/example-{name}", force=True)
    print(f"{name}: {folder}")
    for metric in result.metrics:
        value = metric.reason or f"{metric.value:.4f} against {metric.target}; lower is better"
        print(f"  {metric.name:<22} {value}")
