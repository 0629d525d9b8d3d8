"""Metrics of a video: its warping error, and the metrics of a run on some of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from vitsplice.contracts import Case, MetricSpec
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.images import read
from vitsplice.metrics import select_run_metrics
from vitsplice.metrics.values import MetricValue, build_metrics, compute, mean_values
from vitsplice.plugins import catalogue
from vitsplice.video.appearances import Appearances
from vitsplice.video.colours import Pixels, as_tensor
from vitsplice.video.flicker import warping_error
from vitsplice.video.segments import Segment


def warping_errors(segment: Segment, outputs: Sequence[Pixels]) -> list[tuple[int, float, float]]:
    """Compute the warping errors of a segment.

    Args:
        segment: the segment.
        outputs: 8-bit RGB of the outputs of its frames and of the key frame after it, if there is one.

    Returns:
        For each pair of consecutive frames with trusted pixels: number of the first frame, error of the input, error of
        the output.
    """
    frames = segment.frames if segment.following is None else (*segment.frames, segment.following)
    inputs_in_pairs = pairwise(as_tensor(frame.pixels) for frame in frames)
    outputs_in_pairs = pairwise(map(as_tensor, outputs))
    errors = []
    for frame, pair, inputs, results in zip(frames[:-1], segment.pairs, inputs_in_pairs, outputs_in_pairs, strict=True):
        input_error, output_error = warping_error(*inputs, pair.forward), warping_error(*results, pair.forward)
        if input_error is not None and output_error is not None:
            errors.append((frame.index, input_error, output_error))
    return errors


def mean_errors(errors: Sequence[tuple[int, float, float]]) -> dict[str, float | None]:
    """Return the mean warping errors of input and output; each is None if ``errors`` is empty."""
    if not errors:
        return {"input": None, "output": None}
    return {"input": fmean(error[1] for error in errors), "output": fmean(error[2] for error in errors)}


def frame_metrics(
    samples: Sequence[tuple[int, Path, Path]], appearances: Appearances, backbone: str, loader: BackboneLoader
) -> dict[str, dict[str, Any]]:
    """Measure frames by the metrics of a run.

    Args:
        samples: number of each frame, and files of input and output.
        appearances: the appearance images; each value is the weighted mean over them.
        backbone: name of the first backbone of the preset.
        loader: loader of the backbones of metrics.

    Returns:
        For each metric the mean over the frames (None with a reason, if a frame has no value), the better direction and
        what the metric compares the output with.
    """
    known = catalogue()
    specs = select_run_metrics(known.metrics)
    built = build_metrics(specs, loader.metric_context(backbone, known))
    values, weights = [], []
    for number, before, after in samples:
        structure, output = read(before).pixels, read(after).pixels
        for image, weight in zip(appearances.images.values(), appearances.weights, strict=True):
            case = Case(str(number), structure, image.pixels, output)
            values.append([compute(spec, metric, case) for spec, metric in built.metrics])
            weights.append(weight)
    means = {mean.name: mean for mean in mean_values(values, weights)}
    return {spec.name: _as_data(means.get(spec.name), built.unavailable.get(spec.name, ""), spec) for spec in specs}


def _as_data(mean: MetricValue | None, why_unavailable: str, spec: MetricSpec) -> dict[str, Any]:
    value, reason = (mean.value, mean.reason) if mean else (None, why_unavailable)
    return {"value": value, "reason": reason, "better": spec.better, "against": spec.against}
