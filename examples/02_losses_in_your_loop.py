"""Losses in your own training loop: optimise the pixels of an image.

First with one term, the structure of another image, then with all terms of the preset quick.

python examples/02_losses_in_your_loop.py [BACKBONE CNN]
"""

import sys

import torch

import vitsplice
from vitsplice.images import example, read, resize_to
from vitsplice.loss_modules import StructureLoss, from_preset

structure, appearance = (resize_to(read(path).pixels, 224) for path in example())
name, cnn = sys.argv[1:3] or ("dinov2-vits14-offline", "efficientnet-lite0-offline")
backbone = vitsplice.load_backbone(name)


def optimise(loss, image, steps=5):
    """Optimise the pixels of an image with Adam."""
    pixels = image.clone().requires_grad_()
    optimiser = torch.optim.Adam([pixels], lr=0.01)
    for step in range(steps):
        value = loss(pixels)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)  # losses take images in [0, 1]
        print(f"step {step}: {value.item():.5f}")
    return pixels.detach()


print("structure term, starting from the appearance image")
optimise(StructureLoss(backbone).set_targets(structure), appearance)

print("all terms of quick, starting from the structure image")
networks = {"backbone": backbone, "overrides": [f"backbones.cnn.name={cnn}"]}
loss = from_preset("quick", structure, appearance, size=224, **networks)
output = optimise(loss, structure)
for name, value in loss(output, unreduced=True).items():
    print(f"{name:<16} {loss.weights[name]:g} x {value.item():.5f}")
