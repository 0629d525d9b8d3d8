"""The built-in metrics. Listing them imports nothing heavy; each module has the ``build`` functions of some."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from vitsplice.contracts import Metric, MetricContext, MetricSpec


def _build(module: str, function: str) -> Callable[[MetricContext], Metric]:
    """A function of a module of this folder, which is imported when it is called."""

    def build(context: MetricContext) -> Metric:
        made: Metric = getattr(import_module(f"{__name__}.{module}"), function)(context)
        return made

    return build


METRICS = (
    MetricSpec(
        "structure-distance",
        _build("features", "structure_distance"),
        "mean squared difference of the key self-similarity (Splice, equation 4)",
    ),
    MetricSpec("gradient-ssim", _build("output_specs", "gradient_ssim"), "1 - SSIM of the gradients of lightness"),
    MetricSpec(
        "cnn-self-similarity",
        _build("output_specs", "cnn_self_similarity"),
        "mean squared difference of the self-similarity of a CNN's last map",
    ),
    MetricSpec(
        "iou-cosegmentation",
        _build("segments", "cosegmentation"),
        "mean IoU of clusters of keys, found jointly in both images",
        better="higher",
    ),
    MetricSpec(
        "iou-mask",
        _build("segments", "against_mask"),
        "IoU of those clusters with the pair's structure mask",
        better="higher",
    ),
    MetricSpec(
        "iou-torchvision",
        _build("segmenter", "torchvision_iou"),
        "mean IoU of the classes that a torchvision segmenter sees",
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
        _build("output_specs", "lab_patches"),
        "sliced Wasserstein distance of Lab patches",
        against="appearance",
    ),
    MetricSpec(
        "cnn-statistics",
        _build("output_specs", "cnn_statistics"),
        "distance of means and spreads of a CNN's maps",
        against="appearance",
    ),
    MetricSpec(
        "local-appearance",
        _build("local", "local_appearance"),
        "distance of Lab mean and contrast where the images correspond",
        against="appearance",
    ),
    MetricSpec(
        "kid",
        _build("kid", "kid"),
        "kernel inception distance of outputs and appearance images, by a CNN's pooled features",
        over="set",
        against="set",
    ),
)
