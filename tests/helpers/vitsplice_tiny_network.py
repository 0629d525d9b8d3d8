"""A backbone without timm and torchvision, whose imports take most of the time of a tiny run in a new process."""

import torch
from torch import nn

from vitsplice.backbones.cnn import MapBackbone
from vitsplice.rng import private_rng

STRIDE = 8


class TinyConv(MapBackbone):
    """One convolution with random weights and a tanh."""

    def __init__(self, **info):
        with private_rng(0):
            network = nn.Conv2d(3, 8, STRIDE, stride=STRIDE)
        half = (0.5, 0.5, 0.5)
        super().__init__(network, model="one convolution", layers=1, stride=STRIDE, mean=half, std=half, **info)

    def _maps(self, inputs):
        return (torch.tanh(self.model(inputs)),)
