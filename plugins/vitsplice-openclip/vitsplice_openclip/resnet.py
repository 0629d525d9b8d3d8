"""Feature maps of open_clip's ResNet."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vitsplice.backbones.base import FrozenBackbone
from vitsplice.backbones.weights import digest
from vitsplice.contracts import BackboneInfo, FeatureRequest, Features

STAGES = ("layer1", "layer2", "layer3", "layer4")
STRIDE = 32


class ClipResNet(FrozenBackbone):
    """A frozen ``open_clip.modified_resnet.ModifiedResNet`` as a backbone: the maps of its four stages.

    Args:
        tower: the network.
        mean, std: of the pictures it was trained on.
        name, licence, source: see `vitsplice.contracts.BackboneInfo`.
    """

    def __init__(
        self,
        tower: nn.Module,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        name: str,
        licence: str,
        source: str,
    ) -> None:
        super().__init__()
        self.tower: Any = tower.eval().requires_grad_(False)
        self.info = BackboneInfo(
            name=name,
            model="open_clip ModifiedResNet",
            facets=("map", "pooled"),
            layers=len(STAGES),
            structure=FeatureRequest("map"),
            appearance=FeatureRequest("pooled"),
            stride=STRIDE,
            multiple=STRIDE,
            smallest=STRIDE,
            fixed=None,
            mean=mean,
            std=std,
            cls_normalised=None,
            parameters=sum(p.numel() for p in tower.parameters()),
            licence=licence,
            source=source,
            sha256=digest(tower.state_dict()),
        )
        self.eval()

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        maps = [self.tower.stem(inputs)]
        for stage in STAGES:
            maps.append(getattr(self.tower, stage)(maps[-1]))
        return {request: _pick(maps[1:][request.layer].float(), request.facet) for request in requests}


def _pick(values: Tensor, facet: str) -> Features:
    if values.requires_grad:  # as in `vitsplice.backbones.cnn`
        values.register_hook(lambda gradient: gradient.contiguous())  # type: ignore[no-untyped-call]
    if facet == "pooled":
        return Features(values.mean((2, 3)))
    return Features(values.flatten(2).transpose(1, 2), (values.shape[2], values.shape[3]))
