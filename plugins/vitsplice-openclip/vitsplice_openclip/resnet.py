"""Feature maps of open_clip's ResNet."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor, nn

from vitsplice.backbones.base import FrozenBackbone, Stated, described
from vitsplice.backbones.cnn import facet_of
from vitsplice.contracts import FeatureRequest, Features

STAGES = ("layer1", "layer2", "layer3", "layer4")
STRIDE = 32


class ClipResNet(FrozenBackbone):
    """A frozen ``open_clip.modified_resnet.ModifiedResNet`` as a backbone: the maps of its four stages.

    Args:
        tower: the network.
        mean, std: of the images it was trained on.
        stated: see `vitsplice.backbones.base.Stated`.
    """

    def __init__(
        self, tower: nn.Module, *, mean: tuple[float, ...], std: tuple[float, ...], **stated: Unpack[Stated]
    ) -> None:
        super().__init__()
        self.tower: Any = tower.eval().requires_grad_(False)
        self.info = described(
            tower,
            roles=("map", "pooled"),
            model="open_clip ModifiedResNet",
            facets=("map", "pooled"),
            layers=len(STAGES),
            stride=STRIDE,
            mean=mean,
            std=std,
            **stated,
        )
        self.eval()

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        maps = [self.tower.stem(inputs)]
        for stage in STAGES:
            maps.append(getattr(self.tower, stage)(maps[-1]))
        return {request: facet_of(maps[1:][request.layer].float(), request.facet) for request in requests}
