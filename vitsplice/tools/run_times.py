"""Times of the parts of a run, and of the passes of each backbone in these parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from vitsplice.config import BackboneConfig, RunConfig
from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest, Features
from vitsplice.engine.backbones import BackboneLoader, Loaded
from vitsplice.plugins import Catalogue
from vitsplice.runs.run import Run


@dataclass(frozen=True)
class PartTime:
    """Time of a part of a run.

    Args:
        name: ``load``, ``start`` (with the setup of the first stage), the number and working size of a stage, or
            ``metrics``.
        seconds: wall time.
        steps: number of steps.
        backbones: name of a backbone -> seconds in its forward and backward passes; empty for ``load`` and ``metrics``,
            where they are not measured.
    """

    name: str
    seconds: float
    steps: int
    backbones: Mapping[str, float]


class TimedBackbone:
    """A backbone that sums up the seconds of its forward and backward passes.

    A backward pass lasts from the first gradient of a feature to the gradient of the images. Autograd processes
    operations in reverse order of the forward pass, so this time does not include other backbones or loss terms.

    Args:
        backbone: the backbone, in the precision of the run.
        device: its device.
    """

    def __init__(self, backbone: Backbone, device: torch.device) -> None:
        self._backbone, self._device = backbone, device
        self.seconds = 0.0

    @property
    def info(self) -> BackboneInfo:
        """See `vitsplice.contracts.Backbone`."""
        return self._backbone.info

    def __call__(self, images: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """Compute features: see `vitsplice.contracts.Backbone`."""
        images = images.view_as(images)  # the gradient of this tensor comes from this pass alone
        began = _now(self._device)
        features = self._backbone(images, requests)
        self.seconds += _now(self._device) - began
        if images.requires_grad:
            self._time_backward(images, features.values())
        return features

    def to(self, device: torch.device | str, dtype: torch.dtype) -> TimedBackbone:
        """Return the moved backbone, timed from 0: see `vitsplice.contracts.Backbone`."""
        return TimedBackbone(self._backbone.to(device, dtype), torch.device(device))

    def _time_backward(self, images: Tensor, features: Iterable[Features]) -> None:
        starts: list[float] = []
        for feature in features:
            if feature.values.requires_grad:
                _on_gradient(feature.values, lambda: starts.append(_now(self._device)))

        def add_seconds() -> None:
            self.seconds += _now(self._device) - starts[0]
            starts.clear()

        _on_gradient(images, add_seconds)


class TimedLoader(BackboneLoader):
    """Loads backbones, and times their passes."""

    def __init__(self) -> None:
        self._backbones: list[TimedBackbone] = []

    def load(self, config: BackboneConfig, known: Catalogue, device: torch.device, precision: str) -> Loaded:
        """Load a backbone: see `BackboneLoader`."""
        backbone, substitution = super().load(config, known, device, precision)
        self._backbones.append(TimedBackbone(backbone, device))
        return self._backbones[-1], substitution

    def seconds(self) -> dict[str, float]:
        """Return the seconds in the passes of each backbone so far, by its name."""
        total: dict[str, float] = defaultdict(float)
        for backbone in self._backbones:
            total[backbone.info.name] += backbone.seconds
        return dict(total)


def run_times(structure: Any, appearance: Any, settings: RunConfig) -> list[PartTime]:
    """Run once, and return the time of each part.

    Args:
        structure, appearance: see `vitsplice.splice`.
        settings: settings of the run.
    """
    loader = TimedLoader()
    run = Run(structure, appearance, settings, backbones=loader)
    start = PartTime("start", run.seconds["start"], 0, loader.seconds())
    device = torch.device(run.settings.device)
    stages = _stage_times(run, loader, device)
    began = _now(device)
    run.metrics()
    metrics = PartTime("metrics", _now(device) - began, 0, {})
    return [PartTime("load", run.seconds["load"], 0, {}), start, *stages, metrics]


def _stage_times(run: Run, loader: TimedLoader, device: torch.device) -> list[PartTime]:
    """Take all steps, and return the time of each stage.

    The time includes the setup of the stage, except that the setup of the first stage is part of ``start``.
    """
    began, before, taken_before = _now(device), loader.seconds(), 0
    ends: dict[int, tuple[float, dict[str, float], int]] = {}
    for number, _ in enumerate(run.steps(), 1):
        ends[run.snapshot().stage] = (_now(device), loader.seconds(), number)
    parts = []
    for stage, (ended, after, taken) in ends.items():
        size = run.sizes["working"][stage]
        backbones = {backbone: seconds - before[backbone] for backbone, seconds in after.items()}
        title = f"stage {stage + 1}, {size['width']} x {size['height']} px"
        parts.append(PartTime(title, ended - began, taken - taken_before, backbones))
        began, before, taken_before = ended, after, taken
    return parts


def _on_gradient(tensor: Tensor, function: Callable[[], None]) -> None:
    """Call a function when the gradient of a tensor is known, before the gradient is passed on."""
    tensor.register_hook(lambda _: function())  # type: ignore[no-untyped-call]


def _now(device: torch.device) -> float:
    """Return the current time in seconds, after all queued work of a device."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return perf_counter()
