"""A backbone of your own: what it has to have, held to the contract, and used in a loss.

python examples/06_backbone_plugin.py

As a plugin that `vitsplice run --backbone` knows, it needs a hook too: vitsplice plugin new mine --kind backbone
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.backbones.inputs import check_inputs, normalised
from vitsplice.contracts import BackboneInfo, FeatureRequest, Features
from vitsplice.losses import StructureLoss
from vitsplice.testing import BackboneContract


class Blocks(nn.Module):
    """The mean colour of every 8 x 8 px, and of the whole: a backbone without weights."""

    info = BackboneInfo(
        name="blocks",
        model="mean colours",
        facets=("map", "pooled"),
        layers=1,
        structure=FeatureRequest("map"),
        appearance=FeatureRequest("pooled"),
        stride=8,
        multiple=8,
        smallest=8,
        fixed=None,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        cls_normalised=None,
        parameters=0,
        licence="none needed",
        source="no weights",
        sha256="",
    )

    def train(self, mode: bool = True) -> "Blocks":
        """A backbone stays in eval mode."""
        return super().train(False)

    def forward(self, images: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """Features of images ``(B, 3, H, W)`` in [0, 1], from one pass."""
        requests = tuple(dict.fromkeys(requests))
        check_inputs(self.info, images, requests)
        maps = F.avg_pool2d(normalised(self.info, images), 8).float()
        grid = (maps.shape[-2], maps.shape[-1])
        found = {"map": Features(maps.flatten(2).transpose(1, 2), grid), "pooled": Features(maps.mean((2, 3)))}
        return {request: found[request.facet] for request in requests}


class Contract(BackboneContract):
    """What every backbone promises. In a test module this class, named Test..., is all there is to write."""

    def backbone(self) -> Blocks:
        """The one that is tried."""
        return Blocks().eval()


for verdict in Contract.verdicts():
    print(f"{verdict.outcome:<12} {verdict.promise} {verdict.why}")

loss = StructureLoss(Blocks().eval(), size=None)
one, two = (torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
print(f"structure of noise against other noise: {loss(one, two):.4f}, against itself: {loss(one, one):.4f}")
