"""open_clip's ResNet as a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor, nn

from vitsplice.backbones.base import BackboneArguments
from vitsplice.backbones.cnn import MapBackbone

STAGES = ("layer1", "layer2", "layer3", "layer4")
STRIDE = 32


class ClipResNet(MapBackbone):
    """A frozen ``open_clip.modified_resnet.ModifiedResNet`` as a backbone: the maps of its four stages.

    Args:
        tower: the ``ModifiedResNet`` of a CLIP model, whose attention pool is not used.
        mean, std: mean and standard deviation of each channel, by which input images are normalised.
        arguments: see `vitsplice.backbones.base.BackboneArguments`.
    """

    def __init__(
        self,
        tower: nn.Module,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        **arguments: Unpack[BackboneArguments],
    ) -> None:
        super().__init__(
            tower,
            model="open_clip ModifiedResNet",
            layers=len(STAGES),
            stride=STRIDE,
            mean=mean,
            std=std,
            **arguments,
        )

    def _maps(self, inputs: Tensor) -> Sequence[Tensor]:
        maps = [self.model.stem(inputs)]
        for stage in STAGES:
            maps.append(getattr(self.model, stage)(maps[-1]))
        return maps[1:]
