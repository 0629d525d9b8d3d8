"""Feature maps of open_clip's ResNet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from vitsplice.backbones.inputs import check_inputs, normalised
from vitsplice.backbones.weights import digest
from vitsplice.contracts import BackboneInfo, FeatureRequest, Features

STAGES = ("layer1", "layer2", "layer3", "layer4")
STRIDE = 32


class ClipResNet(nn.Module):
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

    def train(self, mode: bool = True) -> ClipResNet:
        """A backbone stays in eval mode."""
        super().train(False)
        return self

    def forward(self, pictures: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """See `vitsplice.contracts.Backbone`."""
        requests = tuple(dict.fromkeys(requests))
        check_inputs(self.info, pictures, requests)
        maps = [self.tower.stem(normalised(self.info, pictures).to(self.tower.conv1.weight.dtype))]
        for stage in STAGES:
            maps.append(getattr(self.tower, stage)(maps[-1]))
        return {request: _pick(maps[1:][request.layer].float(), request.facet) for request in requests}


def _pick(values: Tensor, facet: str) -> Features:
    if values.requires_grad:  # as in `vitsplice.backbones.cnn`
        values.register_hook(lambda gradient: gradient.contiguous())  # type: ignore[no-untyped-call]
    if facet == "pooled":
        return Features(values.mean((2, 3)))
    return Features(values.flatten(2).transpose(1, 2), (values.shape[2], values.shape[3]))
