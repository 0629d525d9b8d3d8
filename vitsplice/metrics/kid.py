"""Kernel inception distance (Binkowski et al. 2018, "Demystifying MMD GANs"), from the features of a small CNN."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from vitsplice.contracts import Case, FeatureRequest, Metric, MetricContext
from vitsplice.errors import VitspliceError
from vitsplice.metrics.features import global_feature, metric_parameters
from vitsplice.metrics.independent import SIZE, load_cnn

POOLED = FeatureRequest("pooled")

MIN_CASES = 50
"""With fewer cases the estimate is too noisy, and there is no value."""

ESTIMATOR = "unbiased, no output with its own appearance image"


def kid(context: MetricContext) -> Metric:
    """Build the metric: distance of the outputs from the appearance images of a set of cases.

    For fewer than `MIN_CASES` cases, computing its value raises VitspliceError.
    """
    cnn = load_cnn(context)

    def value(cases: Iterable[Case]) -> float:
        outputs, appearances = [], []
        for case in cases:
            outputs.append(global_feature(cnn, POOLED, case.output, SIZE).cpu())
            appearances.append(global_feature(cnn, POOLED, case.appearance, SIZE).cpu())
        if len(outputs) < MIN_CASES:
            raise VitspliceError(f"KID needs at least {MIN_CASES} outputs; this set has {len(outputs)}")
        return mmd2(torch.cat(outputs), torch.cat(appearances))

    return Metric(
        value, (cnn.info,), metric_parameters(cnn, POOLED, SIZE, kernel="(x.y / D + 1)^3", estimator=ESTIMATOR)
    )


def mmd2(first: Tensor, second: Tensor) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy of paired samples, with the kernel ``(x.y / D + 1)^3``.

    Row i of one sample may depend on row i of the other, as an output depends on its appearance image. So these two are
    never compared, just as no row is compared with itself. (torch-fidelity and torchmetrics do compare these two.)
    Different rows are assumed to be independent. The estimate may be slightly below 0.

    Args:
        first, second: samples ``(N, D)`` with N >= 2.
    """
    first, second = first.double(), second.double()
    return _mean_off_diagonal(first, first) + _mean_off_diagonal(second, second) - 2 * _mean_off_diagonal(first, second)


def _mean_off_diagonal(first: Tensor, second: Tensor) -> float:
    """Mean of the kernel over all i and j that differ."""
    values, n = (first @ second.T / first.shape[1] + 1) ** 3, len(first)
    return float(values.sum() - values.diagonal().sum()) / (n * (n - 1))
