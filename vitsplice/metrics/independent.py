"""Metrics of pixels and of a fixed CNN, which do not depend on the selected backbone. Lower is better for each.

If a user selects this CNN as backbone, a run and an evaluation mark the metrics that use the CNN: see
`vitsplice.metrics.leakage`.

Images are measured at a shorter side of 256 px, or less where the longer side would be more than 2,048 px. The output
is measured at the size of the resized structure image.
"""

from __future__ import annotations

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import Backbone, Case, FeatureRequest, Metric, MetricContext
from vitsplice.errors import UnknownName
from vitsplice.images.transforms import to_lab
from vitsplice.losses.functional import structure_loss
from vitsplice.losses.regularisers import gradients
from vitsplice.rng import stream

SIZE = 256
MAX_LENGTH = 8 * SIZE
"""Maximum of the longer side of a measured image, in pixels."""

CNN = "efficientnet-lite1-offline"
"""Backbone of the metrics that need a CNN. No built-in preset may use it."""

CNN_METRICS = ("cnn-self-similarity", "cnn-statistics")
"""Metrics of a run that use `CNN`; of the other built-in metrics, only ``kid`` does."""

PATCH, STRIDE, DIRECTIONS, QUANTILES, MAX_PATCHES = 7, 2, 64, 512, 100_000
"""Parameters of `patch_distance`: side of a patch and distance between patches, both in pixels; number of directions;
number of quantiles; maximum number of patches of an image (if it has more, every n-th patch is used)."""


def gradient_ssim(context: MetricContext) -> Metric:
    """Build the metric: `gradient_ssim_distance` of output and structure image."""
    return Metric(
        lambda case: gradient_ssim_distance(*_resized(case, case.structure)),
        parameters={"shorter_side": SIZE},
        optimised_by=("edges",),
    )


def lab_patches(context: MetricContext) -> Metric:
    """Build the metric: `patch_distance` of output and appearance image."""
    return Metric(
        lambda case: patch_distance(*_resized(case, case.appearance)),
        parameters={"shorter_side": SIZE},
        optimised_by=("patches",),
    )


def cnn_self_similarity(context: MetricContext) -> Metric:
    """Build the metric: `structure_loss` of the CNN's last map of output and structure image."""
    cnn = load_cnn(context)
    last_map = FeatureRequest("map")

    def value(case: Case) -> float:
        images = _resized(case, case.structure, cnn)
        output, structure = (cnn(image, [last_map])[last_map].values for image in images)
        return float(structure_loss(output, structure))

    return Metric(value, (cnn.info,), {"facet": "map", "layer": -1, "shorter_side": SIZE})


def cnn_statistics(context: MetricContext) -> Metric:
    """Build the metric: `statistics_distance` of output and appearance image, averaged over all maps of the CNN."""
    cnn = load_cnn(context)
    requests = [FeatureRequest("map", layer) for layer in cnn.info.every_layer]

    def value(case: Case) -> float:
        output, appearance = (cnn(image, requests) for image in _resized(case, case.appearance, cnn))
        return sum(statistics_distance(output[r].values, appearance[r].values) for r in requests) / len(requests)

    return Metric(value, (cnn.info,), {"facet": "map", "layer": "all", "shorter_side": SIZE}, ("statistics",))


def load_cnn(context: MetricContext) -> Backbone:
    """Load the backbone `CNN`. Raises UnknownName, which says what plugin to install, if the backbone is missing."""
    try:
        return context.load(CNN)
    except UnknownName as error:
        raise UnknownName(f"this metric needs the backbone {CNN}: install the plugin vitsplice-offline") from error


def gradient_ssim_distance(output: Tensor, target: Tensor) -> float:
    """Compute 1 - SSIM (Wang et al. 2004, window 11) of 4 times the gradient magnitudes of lightness, in [0, 2]."""
    edges, target_edges = (torch.hypot(*gradients(to_lab(image)[:, :1])) * 4 for image in (output, target))
    return float(1 - kornia.metrics.ssim(edges, target_edges, 11, eps=0.0).mean())


def patch_distance(output: Tensor, target: Tensor) -> float:
    """Sliced Wasserstein distance of 7x7 Lab patches, from their quantiles along 64 random directions."""
    rng = stream(0, "figures")  # any other label changes the values
    directions = F.normalize(torch.randn(3 * PATCH * PATCH, DIRECTIONS, generator=rng), dim=0).to(output.device)
    probabilities = torch.linspace(0, 1, QUANTILES, device=output.device)
    quantiles = []
    for image in (output, target):
        projections = F.unfold(to_lab(image), PATCH, stride=STRIDE)[0].T @ directions
        projections = projections[:: -(-len(projections) // MAX_PATCHES)]
        quantiles.append(torch.quantile(projections, probabilities, dim=0))
    return float((quantiles[0] - quantiles[1]).abs().mean())


def _resized(case: Case, target: Tensor, cnn: Backbone | None = None) -> tuple[Tensor, Tensor]:
    """Return the output at the size that `_resized_image` gives the structure image, and the resized target."""
    structure = _resized_image(case.structure, cnn)
    output = Resize().to(case.output, (structure.shape[-2], structure.shape[-1]))
    return output, structure if target is case.structure else _resized_image(target, cnn)


def _resized_image(image: Tensor, cnn: Backbone | None) -> Tensor:
    if cnn:
        return Resize(SIZE, MAX_LENGTH)(image, cnn.info)
    height, width = image.shape[-2:]
    scale = min(SIZE / min(height, width), MAX_LENGTH / max(height, width))
    return Resize().to(image, (round(height * scale), round(width * scale)))


def statistics_distance(output: Tensor, target: Tensor) -> float:
    """Average the differences of channel means and standard deviations.

    Each is divided by the target's standard deviation in its channel, and is at most 5.

    Args:
        output, target: maps ``(1, N, D)`` of N locations and D channels.
    """
    unit = target.std(1) + 1e-3 * target.std()
    means = (output.mean(1) - target.mean(1)).abs() / unit
    deviations = (output.std(1) - target.std(1)).abs() / unit
    return float((means.clamp(max=5).mean() + deviations.clamp(max=5).mean()) / 2)
