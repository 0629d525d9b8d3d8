"""Specs of the built-in metrics. The module that builds a metric is imported only when the metric is built.

`evaluate` computes all metrics by default. A run, `measure`, `train` and `video` compute `RUN_METRICS`.
"""

from __future__ import annotations

from collections.abc import Mapping

from vitsplice.contracts import MetricSpec
from vitsplice.support.lazy import lazy

RUN_METRICS = ("gradient-ssim", "cnn-self-similarity", "lab-patches", "cnn-statistics", "natural-statistics")
"""Metrics that a run, `measure`, `train` and `video` report.

None depends on which backbone is selected. Two use a fixed CNN (`vitsplice.metrics.independent.CNN`). If a user selects
this CNN as backbone, a run and an evaluation mark these two metrics (`vitsplice.metrics.leakage`).
"""


def select_run_metrics(registered: Mapping[str, MetricSpec]) -> list[MetricSpec]:
    """Return the registered specs of `RUN_METRICS`; a name that several plugins provide is left out."""
    return [registered[name] for name in RUN_METRICS if name in registered]


METRICS = (
    MetricSpec(
        "structure-distance",
        lazy(f"{__name__}.features", "structure_distance"),
        "mean squared difference of the key self-similarity (Splice, equation 4)",
    ),
    MetricSpec(
        "gradient-ssim", lazy(f"{__name__}.independent", "gradient_ssim"), "1 - SSIM of the gradients of lightness"
    ),
    MetricSpec(
        "cnn-self-similarity",
        lazy(f"{__name__}.independent", "cnn_self_similarity"),
        "mean squared difference of the self-similarity of a CNN's last map",
    ),
    MetricSpec(
        "iou-cosegmentation",
        lazy(f"{__name__}.segments", "cosegmentation"),
        "mean IoU of clusters of keys, computed jointly for structure image and output",
        better="higher",
    ),
    MetricSpec(
        "iou-mask",
        lazy(f"{__name__}.segments", "cluster_mask_iou"),
        "IoU of the structure mask with the area, in the output, of the clusters inside the mask",
        better="higher",
    ),
    MetricSpec(
        "iou-torchvision",
        lazy(f"{__name__}.segmenter", "torchvision_iou"),
        "mean IoU of the classes of a torchvision segmentation network",
        better="higher",
    ),
    MetricSpec(
        "cls-similarity",
        lazy(f"{__name__}.features", "cls_similarity"),
        "cosine of the [CLS] token or pooled feature",
        better="higher",
        against="appearance",
    ),
    MetricSpec(
        "clip-similarity",
        lazy(f"{__name__}.features", "clip_similarity"),
        "cosine of the [CLS] tokens of CLIP",
        better="higher",
        against="appearance",
    ),
    MetricSpec(
        "lab-patches",
        lazy(f"{__name__}.independent", "lab_patches"),
        "sliced Wasserstein distance of Lab patches",
        against="appearance",
    ),
    MetricSpec(
        "cnn-statistics",
        lazy(f"{__name__}.independent", "cnn_statistics"),
        "distance of the channel means and standard deviations of a CNN's maps",
        against="appearance",
    ),
    MetricSpec(
        "local-appearance",
        lazy(f"{__name__}.features", "local_appearance"),
        "distance of Lab mean and contrast of corresponding patches",
        against="appearance",
    ),
    MetricSpec(
        "natural-statistics",
        lazy(f"{__name__}.natural", "natural_statistics"),
        "distance of the natural scene statistics (NIQE) from those of structure and appearance image together",
        against="both",
    ),
    MetricSpec(
        "kid",
        lazy(f"{__name__}.kid", "kid"),
        "kernel inception distance of outputs and appearance images, from a CNN's pooled features",
        over="set",
        against="set",
    ),
)
