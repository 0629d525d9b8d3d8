"""Percentage of correct keypoints of every feature, over all pairs and by category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitsplice.contracts import BackboneInfo, FeatureRequest, layer_label
from vitsplice.evaluation.cases import CaseCounts
from vitsplice.keypoints.dataset import KeypointDataset
from vitsplice.matching.pck import within
from vitsplice.metrics.statistics import FEWER_RESAMPLES, MeanInterval, finite_or_none, mean_with_interval
from vitsplice.support.jsonl import JsonLinesLog, Keys

ALL = ""
"""Key of the metrics of all pairs in `FeaturePCK.categories`."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class CategoryPCK:
    """Percentage of correct keypoints over the pairs of a category.

    Args:
        per_pair: by threshold, mean over pairs of the fraction of their keypoints that are correct.
        per_keypoint: by threshold, fraction of all keypoints that are correct.
        pairs: number of measured pairs that have keypoints inside their images.
        keypoints: number of measured keypoints.
    """

    per_pair: Mapping[float, MeanInterval]
    per_keypoint: Mapping[float, float]
    pairs: int
    keypoints: int


@dataclass(frozen=True)
class FeaturePCK:
    """Percentage of correct keypoints of a feature.

    Args:
        backbone, request: the feature.
        categories: metrics by category; the metrics of all pairs are under `ALL`.
        outside: number of keypoints that are excluded because they are outside of an image.
        empty: number of pairs without keypoints inside their images.
    """

    backbone: BackboneInfo
    request: FeatureRequest
    categories: Mapping[str, CategoryPCK]
    outside: int
    empty: int

    @property
    def label(self) -> list[str]:
        """Backbone, facet, and layer counted from both ends."""
        return [self.backbone.name, self.request.facet, layer_label(self.request.layer, self.backbone.layers)]

    def mean_of_categories(self, alpha: float) -> float:
        """Mean over the categories of each category's mean over pairs; NaN without keypoints."""
        means = [pck.per_pair[alpha].mean for name, pck in self.categories.items() if name != ALL]
        return float(np.mean([mean for mean in means if np.isfinite(mean)] or [np.nan]))


@dataclass(frozen=True)
class BenchmarkSummary:
    """Summary of a benchmark: the metrics of every feature, and counts of the pairs."""

    data: KeypointDataset
    alphas: tuple[float, ...]
    features: tuple[FeaturePCK, ...]
    counts: CaseCounts

    def to_json(self) -> dict[str, Any]:
        """Return the summary as data for JSON; undefined values are None."""
        summary: dict[str, Any] = _without_nan(
            {
                "data": {"name": self.data.name, "reference_length": self.data.reference, **self.data.details},
                "pairs": self.data.count,
                **asdict(self.counts),
                "alphas": list(self.alphas),
                "features": [self._feature_data(feature) for feature in self.features],
            }
        )
        return summary

    def _feature_data(self, feature: FeaturePCK) -> dict[str, Any]:
        categories = {name: asdict(pck) for name, pck in feature.categories.items()}
        return {
            "backbone": feature.backbone.name,
            "weights_sha256": feature.backbone.sha256,
            "facet": feature.request.facet,
            "layer": feature.request.layer,
            "block": feature.backbone.block(feature.request.layer),
            "keypoints_outside": feature.outside,
            "pairs_without_keypoints": feature.empty,
            **categories.pop(ALL),
            "mean_of_categories": {alpha: feature.mean_of_categories(alpha) for alpha in self.alphas},
            "categories": categories,
        }


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return finite_or_none(value) if isinstance(value, float) else value


def summarise(
    data: KeypointDataset,
    alphas: Sequence[float],
    features: Sequence[tuple[BackboneInfo, FeatureRequest]],
    log: JsonLinesLog,
    keys: Keys,
    counts: CaseCounts,
) -> BenchmarkSummary:
    """Summarise the errors of all pairs.

    Args:
        data: the pairs.
        alphas: thresholds; duplicates are ignored.
        features: measured features.
        log: errors of every pair with every feature.
        keys: keys of the records in the log, ``(features, pairs)``; 0 where a pair could not be measured.
        counts: numbers of measured, missing and unusable pairs.
    """
    alphas = tuple(dict.fromkeys(alphas))
    correct = np.zeros((*keys.shape, len(alphas)), np.int64)
    keypoints, outside = np.zeros(keys.shape, np.int64), np.zeros(keys.shape, np.int64)
    category_of, names = np.zeros(keys.shape[1], np.int64), [ALL]
    for feature, pair in zip(*np.nonzero(keys), strict=True):
        record = log[int(keys[feature, pair])]
        correct[feature, pair] = [sum(within(error, alpha) for error in record["errors"]) for alpha in alphas]
        keypoints[feature, pair], outside[feature, pair] = len(record["errors"]), record["outside"]
        if record["category"] not in names:
            names.append(record["category"])
        category_of[pair] = names.index(record["category"])
    summaries = []
    for feature, (info, request) in enumerate(features):
        measured = keys[feature] != 0
        categories = {}
        for index, name in enumerate(names):
            chosen = measured & ((category_of == index) | (name == ALL))
            categories[name] = _pck(alphas, correct[feature, chosen], keypoints[feature, chosen])
        empty = int((measured & (keypoints[feature] == 0)).sum())
        summaries.append(FeaturePCK(info, request, categories, int(outside[feature].sum()), empty))
    return BenchmarkSummary(data, alphas, tuple(summaries), counts)


def _pck(alphas: Sequence[float], correct: Counts, keypoints: Counts) -> CategoryPCK:
    """Compute the metrics of pairs from their numbers of correct keypoints ``(P, alphas)`` and keypoints ``(P,)``."""
    nonempty = keypoints > 0
    fractions = correct[nonempty] / keypoints[nonempty, None]
    total = int(keypoints.sum())
    return CategoryPCK(
        {alpha: mean_with_interval(fractions[:, n], resamples=FEWER_RESAMPLES) for n, alpha in enumerate(alphas)},
        {alpha: float(correct[:, n].sum() / total) if total else float("nan") for n, alpha in enumerate(alphas)},
        int(nonempty.sum()),
        total,
    )
