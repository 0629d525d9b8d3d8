"""Metrics of a video: its warping error, and the metrics of a run on some of its frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from vitsplice.contracts import Case
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.images import read
from vitsplice.metrics import run_metrics
from vitsplice.metrics.values import build_metrics, compute
from vitsplice.plugins import catalogue
from vitsplice.video.appearances import Appearances
from vitsplice.video.colours import Pixels, as_tensor
from vitsplice.video.flicker import warping_error
from vitsplice.video.segments import Segment


def warping_errors(segment: Segment, outputs: Sequence[Pixels]) -> list[tuple[int, float, float]]:
    """Compute the warping errors of a segment.

    Args:
        segment: the segment.
        outputs: 8-bit RGB of the outputs of its frames and of the key frame after it.

    Returns:
        Number of a frame, and warping error of input and output from it to the next frame.
    """
    frames = segment.frames if segment.following is None else (*segment.frames, segment.following)
    errors = []
    for number, step in enumerate(segment.steps):
        pairs = [as_tensor(frame.pixels) for frame in frames[number : number + 2]]
        source = warping_error(pairs[0], pairs[1], step.forward)
        output = warping_error(as_tensor(outputs[number]), as_tensor(outputs[number + 1]), step.forward)
        if source is not None and output is not None:
            errors.append((frames[number].index, source, output))
    return errors


def mean_errors(errors: Sequence[tuple[int, float, float]]) -> dict[str, float | None]:
    """Return the mean warping error of input and output as plain data; None if there is no pair of frames."""
    if not errors:
        return {"input": None, "output": None}
    return {"input": fmean(error[1] for error in errors), "output": fmean(error[2] for error in errors)}


def frame_metrics(
    samples: Sequence[tuple[int, Path, Path]], appearances: Appearances, backbone: str, loader: BackboneLoader
) -> dict[str, dict[str, Any]]:
    """Measure frames by the metrics of a run.

    Args:
        samples: number of each frame, and files of input and output.
        appearances: the appearance images; values are means of those for each of them, by weight.
        backbone: name of the backbone that matched the frames.
        loader: loader of the backbones of metrics.

    Returns:
        For each metric the mean over the frames (None with a reason), the better direction and what it compares with.
    """
    known = catalogue()
    built = build_metrics(run_metrics(known.metrics), loader.metric_context(backbone, known))
    pairs = list(zip(appearances.images.values(), appearances.weights, strict=True))
    cases = [
        (Case(str(number), read(before).pixels, image.pixels, read(after).pixels), weight)
        for number, before, after in samples
        for image, weight in pairs
    ]
    values: dict[str, dict[str, Any]] = {
        name: {"value": None, "reason": reason} for name, reason in built.unavailable.items()
    }
    for spec, metric in built.metrics:
        each = [(compute(spec, metric, case), weight) for case, weight in cases]
        numbers = [(value.value, weight) for value, weight in each if value.value is not None]
        reasons = [value.reason for value, _ in each if value.reason]
        mean = fmean(*zip(*numbers, strict=True)) if numbers else math.nan
        values[spec.name] = {
            "value": None if math.isnan(mean) else mean,
            "reason": reasons[0] if reasons and not numbers else "",
            "better": spec.better,
            "against": spec.against,
        }
    return values
