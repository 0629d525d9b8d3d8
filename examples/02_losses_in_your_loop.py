"""The losses in somebody else's training loop: here the pixels of one picture move towards another's structure.

python examples/02_losses_in_your_loop.py [BACKBONE]
"""

import sys

import torch

import vitsplice
from vitsplice.images import example, read, resize_to
from vitsplice.losses import StructureLoss

target, start = (resize_to(read(path).pixels, 224) for path in example())
loss = StructureLoss(vitsplice.load_backbone(sys.argv[1] if len(sys.argv) > 1 else "dinov2-vits14-offline"))

picture = start.clone().requires_grad_()
optimiser = torch.optim.Adam([picture], lr=0.01)
for step in range(5):
    value = loss(picture, target)
    optimiser.zero_grad()
    value.backward()
    optimiser.step()
    print(f"step {step}: {value.item():.5f}")
