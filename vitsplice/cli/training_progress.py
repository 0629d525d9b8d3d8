"""Progress of a training on standard error."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from vitsplice.cli.progress import ProgressDisplay, duration
from vitsplice.support.step_rate import StepRate

if TYPE_CHECKING:
    from vitsplice.engine.values import Step
    from vitsplice.training.recorder import TrainingRecorder


class TrainingProgress(ProgressDisplay):
    """The progress of a training; silent in all processes but the main one.

    Args:
        recorder: a training that was begun or resumed.
        clock: returns the current time in seconds.
    """

    def __init__(self, recorder: TrainingRecorder, clock: Callable[[], float] = perf_counter) -> None:
        super().__init__(recorder.training.parts.config.steps, clock)
        self._recorder, self._rate = recorder, StepRate(clock=clock)
        self._silent = not recorder.training.processes.main
        self._introduce()

    def note(self, line: str, style: str = "") -> None:
        """Print a line above the bar."""
        if not self._silent:
            super().note(line, style)

    def step(self, step: Step) -> None:
        """Show the losses of a step."""
        self._rate.step_done()
        taken = step.index + 1
        losses = (f"{name} {value:.4g}" for name, value in step.losses.items())
        rate = f"{self._rate.seconds:.2f} s/step" if self._rate.seconds else ""
        first_or_last = taken in (self._recorder.resumed_at + 1, self._recorder.training.parts.config.steps)
        self._show(taken, "  ".join(filter(None, [f"total {step.total:.4g}", *losses, rate])), now=first_or_last)

    def _introduce(self) -> None:
        """Print generator, backbones, sizes and the resumed step."""
        training = self._recorder.training
        parts, config = training.parts, training.parts.config
        weights = sum(parameter.numel() for parameter in training.generator.parameters())
        self.note(f"generator {parts.generator.name}, {weights / 1e6:.1f} million weights, on {config.device}")
        for sized in parts.recipe.backbones.values():
            info = sized.backbone.info
            self.note(f"backbone {info.name} ({info.model}, {info.licence}), weights from {info.source}")
        several = f" in each of {training.processes.count} processes" if training.processes.count > 1 else ""
        accumulated = f", {parts.training.accumulation} times a step" if parts.training.accumulation > 1 else ""
        self.note(f"{config.steps} steps of {parts.training.batch} pairs{several}{accumulated}, seed {config.seed}")
        if self._recorder.resumed_at:
            self.note(f"resuming after step {self._recorder.resumed_at}")

    def _eta(self, done: int, total: int) -> str:
        seconds = self._rate.seconds
        return "" if seconds is None or done == total else f"ETA {duration(seconds * (total - done))}"
