"""The independent metrics of `vitsplice.metrics.output` as metrics."""

from __future__ import annotations

from vitsplice.contracts import Case, Metric, MetricContext
from vitsplice.metrics.output import CNN, OPTIMISED_BY, SIZE, value_of


def gradient_ssim(context: MetricContext) -> Metric:
    """1 - SSIM of the size of the gradients of lightness."""
    return _without_network("gradient-ssim")


def lab_patches(context: MetricContext) -> Metric:
    """Sliced Wasserstein distance of 7x7 Lab patches."""
    return _without_network("lab-patches")


def cnn_self_similarity(context: MetricContext) -> Metric:
    """Mean squared difference of the self-similarity of the CNN's last map."""
    return _with_network("cnn-self-similarity", context, {"facet": "map", "layer": -1})


def cnn_statistics(context: MetricContext) -> Metric:
    """Distance of each channel's mean and spread, over all maps of the CNN."""
    return _with_network("cnn-statistics", context, {"facet": "map", "layer": "all"})


def _without_network(name: str) -> Metric:
    def value(case: Case) -> float:
        return value_of(name, case.structure, case.appearance, case.output, None)

    return Metric(value, parameters={"shorter_side": SIZE}, optimised_by=(OPTIMISED_BY[name],))


def _with_network(name: str, context: MetricContext, facts: dict[str, object]) -> Metric:
    cnn = context.load(CNN)

    def value(case: Case) -> float:
        return value_of(name, case.structure, case.appearance, case.output, cnn)

    return Metric(value, (cnn.info,), {**facts, "shorter_side": SIZE})
