"""Metrics of an output that do not belong to the network it was optimised in. Lower is better for each.

Structure, against the structure image: how unlike the gradients are, and how unlike a CNN's self-similarity is.
Appearance, against the appearance image: how far apart Lab patches and a CNN's statistics are, wherever they lie.
All are taken at a shorter side of 256 px, or less where the longer one would be more than 2,048 px.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.sizing import Resize
from vitsplice.contracts import Backbone, FeatureRequest, Role
from vitsplice.errors import UserError, VitspliceError, reason
from vitsplice.images.transforms import to_lab
from vitsplice.losses.functional import self_similarity
from vitsplice.losses.realism import gradients
from vitsplice.numerics import numerics
from vitsplice.plugins import Catalogue
from vitsplice.rng import stream

SIZE = 256
LONGEST = 8 * SIZE
"""The longer side at which an image is measured is at most this, in pixels."""
CNN = "efficientnet-lite0-offline"
"""The network of the metrics that need one. It has no part in any preset of ours."""

METRICS = ("gradient-ssim", "cnn-self-similarity", "lab-patches", "cnn-statistics")
CNN_METRICS = ("cnn-self-similarity", "cnn-statistics")

AGAINST: dict[str, Role] = {
    "gradient-ssim": "structure",
    "cnn-self-similarity": "structure",
    "lab-patches": "appearance",
    "cnn-statistics": "appearance",
}
"""The image that the output is compared with."""

OPTIMISED_BY = {"gradient-ssim": "edges", "lab-patches": "patches"}
"""The loss term that optimises the same thing as a figure."""

PATCH, STRIDE, DIRECTIONS, QUANTILES, MOST = 7, 2, 64, 512, 100_000


@dataclass(frozen=True)
class Figure:
    """One figure; lower is better.

    Args:
        name: what it is called.
        value: of the output, or None where it could not be measured.
        against: the image that the output was compared with.
        optimised_by: the loss term that optimises the same thing, or "".
        why: there is no value, or "".
        start: the value of the image that the output started from, where it is another one.
        unchanged: the value of the structure image as it is.
    """

    name: str
    value: float | None
    against: Role
    optimised_by: str = ""
    why: str = ""
    start: float | None = None
    unchanged: float | None = None


@numerics()
def load_cnn(catalogue: Catalogue) -> Backbone | None:
    """The network of the metrics that need one, or None where it is not installed."""
    try:
        return catalogue.backbone(CNN).build(None)
    except VitspliceError:
        return None


def metrics(structure: Tensor, appearance: Tensor, output: Tensor, cnn: Backbone | None) -> list[Figure]:
    """All metrics of an output, those of a CNN only if there is one. One that fails costs its own value alone.

    Args:
        structure, appearance, output: ``(1, 3, H, W)`` in [0, 1], on one device.
        cnn: a CNN on that device.
    """
    return [_figure(name, structure, appearance, output, cnn) for name in METRICS if cnn or name not in CNN_METRICS]


def with_scale(
    measured: Sequence[Figure], structure: Tensor, appearance: Tensor, start: Tensor | None, cnn: Backbone | None
) -> list[Figure]:
    """Metrics of an output with those of the unchanged structure image and of the start, None where one fails.

    Args:
        measured: of the output.
        structure, appearance, start: ``(1, 3, H, W)`` in [0, 1]; ``start`` may be None.
        cnn: as for `metrics`.
    """

    def value(name: str, image: Tensor | None) -> float | None:
        return None if image is None else _figure(name, structure, appearance, image, cnn).value

    return [replace(one, start=value(one.name, start), unchanged=value(one.name, structure)) for one in measured]


def without_value(name: str, why: str) -> Figure:
    """A figure that could not be measured."""
    return Figure(name, None, AGAINST[name], OPTIMISED_BY.get(name, ""), why)


def _figure(name: str, structure: Tensor, appearance: Tensor, output: Tensor, cnn: Backbone | None) -> Figure:
    try:
        value = value_of(name, structure, appearance, output, cnn)
    except Exception as error:  # whatever it is, memory above all, the image and the other values are good
        return without_value(name, reason(error))
    if not math.isfinite(value):
        return without_value(name, f"it is {value}")
    return Figure(name, value, AGAINST[name], OPTIMISED_BY.get(name, ""))


@numerics(grad=False)
def value_of(name: str, structure: Tensor, appearance: Tensor, output: Tensor, cnn: Backbone | None) -> float:
    """The value of one of `METRICS`; those in `CNN_METRICS` need one. See `metrics`; whatever fails is raised."""
    one, two = (_sized(image, cnn) for image in (structure, appearance))
    made = Resize().to(output, (one.shape[-2], one.shape[-1]))
    if name == "gradient-ssim":
        return gradient_ssim_distance(made, one)
    if name == "lab-patches":
        return patch_distance(made, two)
    if cnn is None:
        raise UserError(f"figure '{name}' needs the backbone {CNN}: install the plugin vitsplice-offline")
    if name == "cnn-self-similarity":
        return _compare(cnn, made, one, _self_similarity)
    return _compare(cnn, made, two, _statistics)


def _sized(image: Tensor, cnn: Backbone | None) -> Tensor:
    if cnn:
        return Resize(SIZE, LONGEST)(image, cnn.info)
    height, width = image.shape[-2:]
    scale = min(SIZE / min(height, width), LONGEST / max(height, width))
    return Resize().to(image, (round(height * scale), round(width * scale)))


def gradient_ssim_distance(output: Tensor, target: Tensor) -> float:
    """1 - SSIM (Wang et al. 2004, window 11) of the size of the gradients of lightness, times 4. In [0, 2]."""
    ours, theirs = (torch.hypot(*gradients(to_lab(image)[:, :1])) * 4 for image in (output, target))
    return float(1 - kornia.metrics.ssim(ours, theirs, 11, eps=0.0).mean())


def patch_distance(output: Tensor, target: Tensor) -> float:
    """Sliced Wasserstein distance of 7x7 Lab patches, by their quantiles along 64 random directions."""
    rng = stream(0, "figures")
    directions = F.normalize(torch.randn(3 * PATCH * PATCH, DIRECTIONS, generator=rng), dim=0).to(output.device)
    at = torch.linspace(0, 1, QUANTILES, device=output.device)
    spread = []
    for image in (output, target):
        patches = F.unfold(to_lab(image), PATCH, stride=STRIDE)[0].T @ directions
        patches = patches[:: -(-len(patches) // MOST)]
        spread.append(torch.quantile(patches, at, dim=0))
    return float((spread[0] - spread[1]).abs().mean())


def _compare(cnn: Backbone, output: Tensor, target: Tensor, distance: Callable[[Tensor, Tensor], float]) -> float:
    """The mean distance over the CNN's maps; self-similarity looks at the last alone."""
    info = cnn.info
    layers = [-1] if distance is _self_similarity else list(info.every_layer)
    requests = [FeatureRequest("map", layer) for layer in layers]
    ours, theirs = cnn(output, requests), cnn(target, requests)
    return sum(distance(ours[r].values, theirs[r].values) for r in requests) / len(requests)


def _self_similarity(output: Tensor, target: Tensor) -> float:
    return float((self_similarity(output) - self_similarity(target)).square().mean())


def _statistics(output: Tensor, target: Tensor) -> float:
    """How far each channel's mean and spread are off, in units of the target's spread, at most 5 of them."""
    unit = target.std(1) + 1e-3 * target.std()
    means = (output.mean(1) - target.mean(1)).abs() / unit
    spreads = (output.std(1) - target.std(1)).abs() / unit
    return float((means.clamp(max=5).mean() + spreads.clamp(max=5).mean()) / 2)
