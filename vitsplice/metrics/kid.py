"""Kernel inception distance (Binkowski et al. 2018, "Demystifying MMD GANs"), with a small CNN's features."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from vitsplice.contracts import Case, FeatureRequest, Metric, MetricContext
from vitsplice.errors import VitspliceError
from vitsplice.metrics.features import facts, global_feature
from vitsplice.metrics.output import CNN, SIZE

POOLED = FeatureRequest("pooled")

FEWEST = 50
"""Of fewer cases the estimate is noise, and none is given."""

ESTIMATOR = "unbiased, no output with its own appearance image"


def kid(context: MetricContext) -> Metric:
    """Between the outputs and the appearance images of a set of cases; it raises for fewer than `FEWEST`."""
    cnn = context.load(CNN)

    def value(cases: Iterable[Case]) -> float:
        made, wanted = [], []
        for case in cases:
            made.append(global_feature(cnn, POOLED, case.output, SIZE).cpu())
            wanted.append(global_feature(cnn, POOLED, case.appearance, SIZE).cpu())
        if len(made) < FEWEST:
            raise VitspliceError(f"{len(made)} outputs are too few; at least {FEWEST} are needed")
        return mmd2(torch.cat(made), torch.cat(wanted))

    return Metric(value, (cnn.info,), facts(cnn, POOLED, SIZE, kernel="(x.y / D + 1)^3", estimator=ESTIMATOR))


def mmd2(one: Tensor, two: Tensor) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy of paired samples, with the kernel ``(x.y / D + 1)^3``.

    Row i of one sample may depend on row i of the other, as an output does on its appearance image; so the two are
    never compared, just as no row is with itself. Different rows are taken for independent.

    Args:
        one, two: samples ``(N, D)``, at least two each. The estimate may be a little below 0.
    """
    one, two = one.double(), two.double()
    return _of_different_rows(one, one) + _of_different_rows(two, two) - 2 * _of_different_rows(one, two)


def _of_different_rows(one: Tensor, two: Tensor) -> float:
    """The mean of the kernel over all i and j that differ."""
    values, number = (one @ two.T / one.shape[1] + 1) ** 3, len(one)
    return float(values.sum() - values.diagonal().sum()) / (number * (number - 1))
