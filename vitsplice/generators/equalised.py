"""Layers with an equalised learning rate.

Source: Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", section 4.1.
Weights have unit variance initially, and a layer multiplies them by a constant, so that the output has the variance of
the input. Adam's steps are then equally large for all weights relative to their size, whatever the number of inputs of
a layer. The arguments ``gain`` and ``rate`` of a layer change the variance of the output and the size of the steps.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EqualisedLinear(nn.Module):
    """A linear layer with an equalised learning rate.

    Args:
        inputs, outputs: numbers of channels.
        gain: initial standard deviation of the output for inputs of unit variance.
        bias: initial value of the bias.
        rate: factor of the learning rate relative to that of other layers.
    """

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.scale, self.rate = gain * rate / math.sqrt(inputs), rate
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))

    def forward(self, values: Tensor) -> Tensor:
        """Map ``(B, inputs)`` to ``(B, outputs)``."""
        return F.linear(values, self.scale * self.weight, self.rate * self.bias)


def same_conv2d(images: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """Convolve images padded by replication, so that the size is kept at stride 1 and borders do not show.

    Args:
        images: ``(B, I, H, W)``.
        weight: ``(O, I, K, K)``, K odd.
        bias: ``(O,)``; None: 0.
        stride: distance of neighbouring outputs, in pixels of the input.

    Returns:
        ``(B, O, ceil(H / stride), ceil(W / stride))``.
    """
    if margin := weight.shape[-1] // 2:
        images = F.pad(images, (margin,) * 4, mode="replicate")
    return F.conv2d(images, weight, bias, stride)


class EqualisedConv2d(nn.Module):
    """A convolution with an equalised learning rate; for its padding see `same_conv2d`.

    Args:
        inputs, outputs: numbers of channels.
        kernel: kernel size; odd.
        stride: distance of neighbouring outputs, in pixels of the input.
        gain: initial standard deviation of the output for inputs of unit variance. 0: weights are 0 initially, and are
            scaled as with gain 1.
        bias: add a bias, initially 0.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, gain: float = 1.0, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.stride = stride
        self.scale = (gain or 1.0) / math.sqrt(inputs * kernel**2)
        shape = (outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(torch.randn(shape) if gain else torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, ceil(H / stride), ceil(W / stride))``."""
        return same_conv2d(images, self.scale * self.weight, self.bias, self.stride)
