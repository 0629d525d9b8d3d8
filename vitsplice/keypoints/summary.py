"""What the errors of all pairs say of each feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitsplice.contracts import BackboneInfo, FeatureRequest, layer_label
from vitsplice.evaluation.account import Account
from vitsplice.keypoints.pairs import DataSet
from vitsplice.matching.pck import within
from vitsplice.metrics.statistics import FEWER_RESAMPLES, MeanInterval, finite_or_none, mean_with_interval
from vitsplice.support.jsonl import JsonLinesLog, Keys

ALL = ""
"""The category of all pairs."""


@dataclass(frozen=True)
class Part:
    """Metrics of some pairs.

    Args:
        per_pair: threshold -> the mean over pairs of the part of their keypoints that are found, with its interval.
        per_keypoint: threshold -> the part of all keypoints that are found.
        pairs: that have keypoints.
        keypoints: how many.
    """

    per_pair: Mapping[float, MeanInterval]
    per_keypoint: Mapping[float, float]
    pairs: int
    keypoints: int


@dataclass(frozen=True)
class Row:
    """One feature: metrics of every category, those of all pairs under `ALL`.

    Args:
        backbone, request: the feature.
        parts: by category.
        outside: keypoints that do not count.
        empty: pairs of which no keypoint counts.
    """

    backbone: BackboneInfo
    request: FeatureRequest
    parts: Mapping[str, Part]
    outside: int
    empty: int

    @property
    def name(self) -> list[str]:
        """Backbone, facet and both numbers of the layer."""
        return [self.backbone.name, self.request.facet, layer_label(self.request.layer, self.backbone.layers)]

    def mean_of_categories(self, alpha: float) -> float:
        """The mean over categories of the mean over pairs."""
        found = [part.per_pair[alpha].mean for name, part in self.parts.items() if name != ALL]
        return float(np.mean([mean for mean in found if np.isfinite(mean)] or [np.nan]))


@dataclass(frozen=True)
class Summary:
    """What there is to say."""

    data: DataSet
    alphas: tuple[float, ...]
    rows: tuple[Row, ...]
    account: Account

    def plain(self) -> dict[str, Any]:
        """As data for JSON; what there is not is None."""
        return {
            "data": {"name": self.data.name, "threshold": self.data.threshold, **self.data.facts},
            "pairs": self.data.count,
            **asdict(self.account),
            "alphas": list(self.alphas),
            "rows": [self._row(row) for row in self.rows],
        }

    def _row(self, row: Row) -> dict[str, Any]:
        return {
            "backbone": row.backbone.name,
            "weights_sha256": row.backbone.sha256,
            "facet": row.request.facet,
            "layer": row.request.layer,
            "block": row.backbone.block(row.request.layer),
            "keypoints_outside": row.outside,
            "pairs_without_keypoints": row.empty,
            **_part(row.parts[ALL]),
            "mean_of_categories": {str(alpha): finite_or_none(row.mean_of_categories(alpha)) for alpha in self.alphas},
            "categories": {name: _part(part) for name, part in row.parts.items() if name != ALL},
        }


def summarise(
    data: DataSet,
    alphas: Sequence[float],
    features: Sequence[tuple[BackboneInfo, FeatureRequest]],
    log: JsonLinesLog,
    keys: Keys,
    account: Account,
) -> Summary:
    """Everything there is to say.

    Args:
        data: the pairs.
        alphas: thresholds.
        features: that were measured.
        log: errors of every pair by every feature.
        keys: of each ``(features, pairs)``, 0 where there is none.
        account: of the pairs.
    """
    alphas = tuple(dict.fromkeys(alphas))
    hits = np.zeros((*keys.shape, len(alphas)), np.int64)
    points, outside = (np.zeros(keys.shape, np.int64) for _ in range(2))
    kinds, names = np.zeros(keys.shape[1], np.int64), [ALL]
    for at in zip(*np.nonzero(keys), strict=True):
        record = log[int(keys[at])]
        hits[at] = [sum(within(error, alpha) for error in record["errors"]) for alpha in alphas]
        points[at], outside[at] = len(record["errors"]), record["outside"]
        if record["category"] not in names:
            names.append(record["category"])
        kinds[at[1]] = names.index(record["category"])
    rows = []
    for number, (info, request) in enumerate(features):
        there = keys[number] != 0
        parts = {
            name: _metrics(alphas, hits[number, chosen], points[number, chosen])
            for name, chosen in ((name, there & ((kinds == kind) | (name == ALL))) for kind, name in enumerate(names))
        }
        empty = int((there & (points[number] == 0)).sum())
        rows.append(Row(info, request, parts, int(outside[number].sum()), empty))
    return Summary(data, alphas, tuple(rows), account)


def _metrics(alphas: Sequence[float], hits: NDArray[np.int64], points: NDArray[np.int64]) -> Part:
    """Metrics of pairs: how many keypoints of each are found ``(pairs, alphas)``, and how many it has ``(pairs,)``."""
    full = points > 0
    shares = hits[full] / points[full, None]
    total = int(points.sum())
    return Part(
        {alpha: mean_with_interval(shares[:, n], resamples=FEWER_RESAMPLES) for n, alpha in enumerate(alphas)},
        {alpha: float(hits[:, n].sum() / total) if total else float("nan") for n, alpha in enumerate(alphas)},
        int(full.sum()),
        total,
    )


def _part(part: Part) -> dict[str, Any]:
    return {
        "pairs": part.pairs,
        "keypoints": part.keypoints,
        "per_pair": {
            str(alpha): {
                "mean": finite_or_none(mean.mean),
                "low": finite_or_none(mean.low),
                "high": finite_or_none(mean.high),
                "interval_type": mean.interval_type,
            }
            for alpha, mean in part.per_pair.items()
        },
        "per_keypoint": {str(alpha): finite_or_none(value) for alpha, value in part.per_keypoint.items()},
    }
