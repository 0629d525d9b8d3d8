"""Progress of a training on standard error."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from vitsplice.cli.progress import StepProgress

if TYPE_CHECKING:
    from vitsplice.training.recorder import TrainingRecorder


class TrainingProgress(StepProgress):
    """The progress of a training, printed only by the main process.

    Args:
        recorder: a training that was started or resumed.
        clock: returns the current time in seconds.
    """

    def __init__(self, recorder: TrainingRecorder, clock: Callable[[], float] = perf_counter) -> None:
        training = recorder.training
        super().__init__(training.parts.config.steps, recorder.resumed_at, clock, quiet=not training.processes.main)
        self._recorder = recorder
        self._introduce()

    def _introduce(self) -> None:
        """Print generator, backbones, numbers of steps and pairs, seed, and the resumed step."""
        training = self._recorder.training
        parts, config = training.parts, training.parts.config
        weights = sum(parameter.numel() for parameter in training.generator.parameters())
        self.note(f"generator {parts.generator_spec.name}, {weights / 1e6:.1f} million weights, on {config.device}")
        self._introduce_backbones(sized.backbone for sized in parts.recipe.backbones.values())
        batches = f"{parts.training.accumulation} batches of " if parts.training.accumulation > 1 else ""
        processes = f" in each of {training.processes.count} processes" if training.processes.count > 1 else ""
        self.note(f"{config.steps} steps of {batches}{parts.training.batch} pairs{processes}, seed {config.seed}")
        if self._recorder.resumed_at:
            self.note(f"resuming after step {self._recorder.resumed_at}")
