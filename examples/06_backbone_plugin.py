"""A custom backbone: its interface, its contract, and a loss that uses it.

python examples/06_backbone_plugin.py

To use it with `vitsplice run --backbone`, register it in a plugin: vitsplice plugin new mine --kind backbone
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.backbones.inputs import check_inputs, normalised
from vitsplice.contracts import BackboneInfo, FeatureRequest, Features
from vitsplice.loss_modules import StructureLoss
from vitsplice.testing import BackboneContract


class Blocks(nn.Module):
    """Backbone without weights: mean colours of 8 x 8 px blocks (map) and of the image (pooled)."""

    info = BackboneInfo(
        name="blocks",
        model="mean colours",
        facets=("map", "pooled"),
        layers=1,
        structure=FeatureRequest("map"),
        appearance=FeatureRequest("pooled"),
        stride=8,
        size_multiple=8,
        min_size=8,
        fixed_size=None,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        cls_normalised=None,
        parameters=0,
        licence="none",
        source="no weights",
        sha256="",
    )

    def train(self, mode: bool = True) -> "Blocks":
        """Stay in eval mode, as the contract requires."""
        return super().train(False)

    def forward(self, images: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """Compute features of images ``(B, 3, H, W)`` in [0, 1] in one pass."""
        requests = tuple(dict.fromkeys(requests))
        check_inputs(self.info, images, requests)
        maps = F.avg_pool2d(normalised(self.info, images), 8).float()
        grid = (maps.shape[-2], maps.shape[-1])
        features = {"map": Features(maps.flatten(2).transpose(1, 2), grid), "pooled": Features(maps.mean((2, 3)))}
        return {request: features[request.facet] for request in requests}


class Contract(BackboneContract):
    """Contract of the backbone. In a test module, pytest collects this class if its name starts with Test."""

    def backbone(self) -> Blocks:
        """Return the backbone under test."""
        return Blocks().eval()


for result in Contract.run_checks():
    print(f"{result.outcome:<8} {result.requirement} {result.reason}")

loss = StructureLoss(Blocks().eval(), size=None)
noise, other = (torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
print(
    f"structure loss of noise against other noise: {loss(noise, other):.4f}, against itself: {loss(noise, noise):.4f}"
)
