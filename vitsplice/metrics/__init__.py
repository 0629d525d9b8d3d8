"""Metrics of `run`, `measure` and `evaluate`, each a `vitsplice.contracts.MetricSpec` registered by the plugin hook.

Listing the built-in metrics imports nothing heavy; the other modules of this package have their ``build`` functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from vitsplice.contracts import Metric, MetricContext, MetricSpec

RUN_METRICS = ("gradient-ssim", "cnn-self-similarity", "lab-patches", "cnn-statistics", "natural-statistics")
"""Metrics that `run` and `measure` print: those that are independent of the backbone that a run optimises."""


def run_metrics(registered: Mapping[str, MetricSpec]) -> list[MetricSpec]:
    """Select `RUN_METRICS`, without those whose name a plugin uses too."""
    return [registered[name] for name in RUN_METRICS if name in registered]


def _build(module: str, function: str) -> Callable[[MetricContext], Metric]:
    """Return a build function that imports its module when it is called."""

    def build(context: MetricContext) -> Metric:
        metric: Metric = getattr(import_module(f"{__name__}.{module}"), function)(context)
        return metric

    return build


METRICS = (
    MetricSpec(
        "structure-distance",
        _build("features", "structure_distance"),
        "mean squared difference of the key self-similarity (Splice, equation 4)",
    ),
    MetricSpec("gradient-ssim", _build("independent", "gradient_ssim"), "1 - SSIM of the gradients of lightness"),
    MetricSpec(
        "cnn-self-similarity",
        _build("independent", "cnn_self_similarity"),
        "mean squared difference of the self-similarity of a CNN's last map",
    ),
    MetricSpec(
        "iou-cosegmentation",
        _build("segments", "cosegmentation"),
        "mean IoU of joint clusters of the keys of both images",
        better="higher",
    ),
    MetricSpec(
        "iou-mask",
        _build("segments", "mask_overlap"),
        "IoU of the clusters inside the structure mask with that mask",
        better="higher",
    ),
    MetricSpec(
        "iou-torchvision",
        _build("segmenter", "torchvision_iou"),
        "mean IoU of the classes of a torchvision segmentation network",
        better="higher",
    ),
    MetricSpec(
        "cls-similarity",
        _build("features", "cls_similarity"),
        "cosine of the [CLS] token or pooled feature",
        better="higher",
        against="appearance",
    ),
    MetricSpec(
        "clip-similarity",
        _build("features", "clip_similarity"),
        "cosine of the image features of CLIP",
        better="higher",
        against="appearance",
    ),
    MetricSpec(
        "lab-patches",
        _build("independent", "lab_patches"),
        "sliced Wasserstein distance of Lab patches",
        against="appearance",
    ),
    MetricSpec(
        "cnn-statistics",
        _build("independent", "cnn_statistics"),
        "distance of the channel means and standard deviations of a CNN's maps",
        against="appearance",
    ),
    MetricSpec(
        "local-appearance",
        _build("features", "local_appearance"),
        "distance of Lab mean and contrast of corresponding patches",
        against="appearance",
    ),
    MetricSpec(
        "natural-statistics",
        _build("natural", "natural_statistics"),
        "distance of the natural scene statistics (NIQE) from those of both photographs",
        against="both",
    ),
    MetricSpec(
        "kid",
        _build("kid", "kid"),
        "kernel inception distance of outputs and appearance images, from a CNN's pooled features",
        over="set",
        against="set",
    ),
)
