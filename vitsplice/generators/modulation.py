"""Convolutions modulated by a vector.

Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.2, equations 1 to 3.
There each sample of a batch has weights of its own, which a grouped convolution applies. Here the whole batch shares
one convolution, and its input and output are scaled for each sample: this is the same function, computed faster. As
in StyleGAN2, all layers have an equalised learning rate; in the mapping network it is multiplied by `MAPPING_RATE`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.generators.equalised import EqualisedLinear, same_conv2d

EPSILON = 1e-8
"""Added to the sum of squares in equation 3, so that nothing is divided by 0."""

MAPPING_RATE = 0.01
"""Factor of the learning rate of the mapping network (Karras et al. 2019)."""


def modulated_conv2d(images: Tensor, weight: Tensor, scales: Tensor, bias: Tensor, *, demodulate: bool) -> Tensor:
    """Convolve each sample with weights whose input channels are scaled.

    With the scales ``s`` of a sample, its weights are ``w'[j, i, k] = s[i] w[j, i, k]`` (equation 1), where j is the
    output channel, i the input channel, and k the position in the kernel. With demodulation they are
    ``w'[j, i, k] / sqrt(sum over i, k of w'[j, i, k]^2 + EPSILON)`` (equations 2 and 3), so that outputs have unit
    variance if inputs are independent and have unit variance.

    Args:
        images: ``(B, I, H, W)``.
        weight: ``(O, I, K, K)``, K odd; for the padding see `same_conv2d`.
        scales: factors of the input channels of each sample, ``(B, I)``.
        bias: ``(O,)``, added last.
        demodulate: apply equations 2 and 3.

    Returns:
        ``(B, O, H, W)``.
    """
    output = same_conv2d(images * scales[..., None, None], weight)
    bias = bias[:, None, None].to(output)
    if not demodulate:
        return output + bias
    factors = torch.rsqrt(scales.square() @ weight.square().sum((2, 3)).T + EPSILON)
    return torch.addcmul(bias, output, factors[..., None, None].to(output))


def unit_scale(features: Tensor) -> Tensor:
    """Scale each vector along dimension 1 to a root mean square of 1."""
    return F.normalize(features, dim=1) * math.sqrt(features.shape[1])


class ModulatedConv2d(nn.Module):
    """A convolution whose input channels are scaled by a learned affine map of a vector.

    Args:
        inputs, outputs: numbers of channels.
        kernel: kernel size; odd.
        vector: number of channels of the vector.
        demodulate: see `modulated_conv2d`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, vector: int, *, demodulate: bool = True) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.affine = EqualisedLinear(vector, inputs, bias=1.0)
        self.weight_scale = 1 / math.sqrt(inputs * kernel**2)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, images: Tensor, vectors: Tensor) -> Tensor:
        """Map images ``(B, inputs, H, W)`` and vectors ``(B, vector)`` to ``(B, outputs, H, W)``."""
        weight = self.weight_scale * self.weight
        return modulated_conv2d(images, weight, self.affine(vectors), self.bias, demodulate=self.demodulate)


class MappingNetwork(nn.Module):
    """MLP with one hidden layer that maps a feature to the vector that modulates convolutions.

    The feature is scaled to a root mean square of 1, as StyleGAN2 does with its latent vector.

    Args:
        inputs: number of channels of the feature.
        width: width of the hidden layer and of the output layer, each followed by GELU.
    """

    def __init__(self, inputs: int, width: int = 768) -> None:
        super().__init__()
        gain = nn.init.calculate_gain("relu")
        hidden, output = (EqualisedLinear(i, width, gain, rate=MAPPING_RATE) for i in (inputs, width))
        self.layers = nn.Sequential(hidden, nn.GELU(), output, nn.GELU())

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``(B, inputs)`` to ``(B, width)``."""
        vectors: Tensor = self.layers(unit_scale(features))
        return vectors
