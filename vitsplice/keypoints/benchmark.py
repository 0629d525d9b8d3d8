"""Run a benchmark: match the keypoints of every pair by every selected feature.

Finished pairs are stored, so that a stopped benchmark can be resumed.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitsplice.contracts import FeatureRequest
from vitsplice.engine.device import pick_device
from vitsplice.errors import ImageError, ImageNotFound, UserError
from vitsplice.evaluation.cases import CaseCounts
from vitsplice.keypoints.dataset import KeypointDataset, KeypointPair, Points, Size, UnusablePair
from vitsplice.keypoints.features import FeatureExtractor, ImageFeatures, SelectedFeatures, select_features
from vitsplice.keypoints.matching import match_points
from vitsplice.keypoints.report import CSV, JSON, MARKDOWN, PAIRS, write_report
from vitsplice.keypoints.summary import BenchmarkSummary, summarise
from vitsplice.matching.pck import point_errors
from vitsplice.numerics import numerics
from vitsplice.runs.record import versions
from vitsplice.support.jsonl import JsonLinesLog, Keys, key_of
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.support.resumable_work import ResumableWork, resumable
from vitsplice.text import one_line, printable

FORMAT = 3
ALPHAS = (0.05, 0.1, 0.15)
VALUES = "values.jsonl"

ROUNDING = 1e-6
"""Tolerance in pixels of the check whether a point is inside of an image."""

WORK = ResumableWork(
    "benchmark",
    "keypoints.json",
    parts=(VALUES,),
    results=(PAIRS, CSV, JSON, MARKDOWN),
    part_keys=("format", "versions", "data", "size", "device"),
)


@dataclass(frozen=True)
class KeypointBenchmark:
    """Settings of a benchmark.

    Args:
        data: the pairs.
        backbones, facets, layers: see `vitsplice.keypoints.features.select_features`.
        alphas: thresholds as fractions of `KeypointPair.reference_length`, above 0 and at most 1.
        size: images are resized to about ``size * size`` pixels; the aspect ratio is preserved.
        device: see `vitsplice.engine.device.pick_device`.

    Raises:
        UserError: if there is no threshold, or a threshold or the size is out of range.
    """

    data: KeypointDataset = field(compare=False)
    backbones: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()
    layers: tuple[int, ...] = (-1,)
    alphas: tuple[float, ...] = ALPHAS
    size: int = 448
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.alphas or not all(0 < alpha <= 1 for alpha in self.alphas):
            given = ", ".join(map(str, self.alphas)) or "none"
            raise UserError(f"give one or more thresholds, each above 0 and at most 1; given: {given}")
        if self.size < 1:
            raise UserError(f"size={self.size} is not allowed; it must be at least 1, in pixels")


@numerics(grad=False)
def run_benchmark(
    benchmark: KeypointBenchmark,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
) -> BenchmarkSummary | None:
    """Measure the percentage of correct keypoints for every backbone, facet and layer.

    Args:
        benchmark: settings. Backbones, facets, layers and thresholds may differ from those of earlier calls with the
            same folder: only what is new is measured.
        out: output folder.
        force: replace a benchmark in the folder that has other data, another size, device or format, or was written
            with other versions of packages.
        progress: progress reporter.

    Returns:
        The summary; None if the progress reporter stopped the benchmark.

    Raises:
        OutputExists: if the folder holds such a benchmark, or files of a benchmark without ``keypoints.json``, and
            ``force`` is not given.
        OutputBusy: if another process is writing to the folder.
        UserError: if no pair can be measured; see also `select_features`.
        VitspliceError: if a backbone cannot be loaded, a feature is not finite, or a file in the folder cannot be read
            or written. A pair whose image cannot be read is left out, and counted in the summary.
    """
    device, data = pick_device(benchmark.device), benchmark.data
    selected = select_features(benchmark.backbones, benchmark.facets, benchmark.layers, device, progress.note)
    plan = {
        "format": FORMAT,
        "versions": versions(),
        "data": dict(data.details),
        "size": benchmark.size,
        "device": str(device),
    }
    total, tables = data.count * len(selected), []
    with resumable(Path(out), WORK, plan, force=force) as folder, JsonLinesLog(folder / VALUES) as log:
        for number, features in enumerate(selected):
            measurement = _Measurement(features, benchmark.size, device, log)
            for index, pair in enumerate(data.pairs()):
                if progress.stopped():
                    return None
                progress.part(f"{features.info.name}, {pair.id}", number * data.count + index, total)
                measurement.add(pair)
            tables.append(measurement.keys())
        progress.part("summary", total, total)
        keys, counts = np.concatenate(tables), measurement.counts
        if not keys.any():
            raise UserError(f"no pair of {printable(data.name)} can be measured: {counts.failures}")
        rows = [(features.info, request) for features in selected for request in features.requests]
        summary = summarise(data, benchmark.alphas, rows, log, keys, counts)
        write_report(folder, summary, log, keys)
        return summary


class _Measurement:
    """Measures pairs with the features of one backbone."""

    def __init__(self, selected: SelectedFeatures, size: int, device: torch.device, log: JsonLinesLog) -> None:
        self.counts = CaseCounts()
        self._selected, self._log, self._setting = selected, log, (size, device)
        self._extract = FeatureExtractor(selected, size, device)
        self._keys = array("Q")

    def keys(self) -> Keys:
        """Return the keys of the records in the log, ``(features, pairs)``; 0 for a pair that cannot be measured."""
        return np.frombuffer(self._keys, np.uint64).reshape(-1, len(self._selected.requests)).T

    def add(self, pair: KeypointPair | UnusablePair) -> None:
        """Measure a pair with the features whose records are not in the log yet; add the keys of all its records."""
        keys = [0] * len(self._selected.requests)
        if isinstance(pair, UnusablePair):
            self.counts.add_failure(pair.id, pair.reason, missing=pair.missing)
        else:
            try:
                keys = self._measure(pair)
                self.counts.measured += 1
            except ImageError as error:
                self.counts.add_failure(pair.id, one_line(str(error)), missing=isinstance(error, ImageNotFound))
        self._keys.extend(keys)

    def _measure(self, pair: KeypointPair) -> list[int]:
        info, requests, pair_key = self._selected.info, self._selected.requests, pair.key()
        keys = [key_of(pair_key, info.name, info.sha256, request, *self._setting) for request in requests]
        for request, key in zip(requests, keys, strict=True):
            if key not in self._log:
                errors, outside = pair_errors(pair, self._extract(pair.source), self._extract(pair.target), request)
                record = {"backbone": info.name, "facet": request.facet, "layer": request.layer, "pair": pair.id}
                self._log.add(key, record | {"category": pair.category, "errors": errors, "outside": outside})
        return keys


def pair_errors(
    pair: KeypointPair, source: ImageFeatures, target: ImageFeatures, request: FeatureRequest
) -> tuple[list[float], int]:
    """Match the points of a pair with one feature and measure the errors.

    Returns:
        Distance of each match from the true point in pixels of the target, divided by the reference length; and the
        number of excluded keypoints, which are more than half a pixel outside of at least one of the two images.
    """
    source_points = _as_fractions(pair.source_points, source.size, pair.unit)
    target_points = _as_fractions(pair.target_points, target.size, pair.unit)
    inside = _is_inside(source_points, source.size) & _is_inside(target_points, target.size)
    matches = match_points(
        source.features[request].maps,
        target.features[request].maps,
        source_points[inside],
        target.input_size,
        target.norms(request),
    )
    reference = pair.reference_length or float(max(target.size))
    errors = point_errors(matches, target_points[inside], target.size, reference)
    return errors.tolist(), int((~inside).sum())


def _as_fractions(points: Points, size: Size, unit: str) -> Tensor:
    tensor = torch.as_tensor(points.copy())
    return tensor if unit == "sides" else (tensor + 0.5) / torch.tensor(size, dtype=torch.float64)


def _is_inside(points: Tensor, size: Size) -> Tensor:
    sides = torch.tensor(size, dtype=torch.float64)
    return ((points - 0.5).abs() * sides <= 0.5 * sides + 0.5 + ROUNDING).all(1)
