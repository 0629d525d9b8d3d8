"""Recording of a training in the folder of its model: checkpoints, the model, losses and previews."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vitsplice.config import GeneratorConfig
from vitsplice.engine.values import Step
from vitsplice.errors import VitspliceError
from vitsplice.models.folder import write_model
from vitsplice.presets.model_folder import BackboneId, ModelRecord
from vitsplice.runs.checkpoints import backbone_digests, settings_digest
from vitsplice.runs.intervals import CheckpointTimer, preview_is_due
from vitsplice.runs.record import versions
from vitsplice.runs.recorder import Note
from vitsplice.support import output_folder
from vitsplice.support.checkpoints import CheckpointFormat, remove_checkpoints
from vitsplice.support.files import json_sha256
from vitsplice.support.progress import ProgressReporter
from vitsplice.training.data import TrainingData
from vitsplice.training.held_out import held_out_losses, held_out_metrics, held_out_preview
from vitsplice.training.loop import Training
from vitsplice.training.loss_log import ROW_INTERVAL, LossLog
from vitsplice.training.plan import CHECKPOINTS, METRICS, PREVIEWS
from vitsplice.training.tensorboard import TensorBoard


@dataclass(frozen=True)
class TrainingCheckpoint:
    """The state of a training between two steps.

    Args:
        step: index of the next step.
        tensors: state of the training.
        log: state of the `LossLog`.
    """

    step: int
    tensors: dict[str, Tensor]
    log: Mapping[str, Any]


def _parse(content: dict[str, Any], tensors: dict[str, Tensor]) -> TrainingCheckpoint:
    if type(content["step"]) is not int or content["step"] < 0:
        raise ValueError("step must be an integer of at least 0")
    LossLog(()).restore(content["log"])
    return TrainingCheckpoint(content["step"], tensors, content["log"])


CHECKPOINT = CheckpointFormat("training", 2, _parse, restarts=False)


class TrainingRecorder:
    """A training and the folder of its model. In several processes, only the main one writes.

    Attributes:
        resumed_at: number of steps of the checkpoint that the training was resumed from; 0 without one.
        metrics: metrics on held-out pairs (`held_out_metrics`); empty before `finish`.
        measured: False if `finish` was stopped before all metrics were computed; always True in processes other than
            the main one, because only the main one measures.

    Args:
        folder: folder of the model, which the caller has locked.
        training: the training.
        held_out: pairs of held-out images, at most `vitsplice.training.held_out.MAX_MEASURED`.
        licence: licence of the model, as stated by the person who trains it.
        tensorboard: also receives losses and previews, until it fails; None: they are only written into the folder.
    """

    def __init__(
        self,
        folder: Path,
        training: Training,
        held_out: TrainingData,
        licence: str = "",
        tensorboard: TensorBoard | None = None,
    ) -> None:
        self.folder, self.training, self.held_out = folder, training, held_out
        self.resumed_at = 0
        self.metrics: dict[str, Any] = {}
        self.measured = True
        self._licence, self._tensorboard = licence, tensorboard
        self._log = LossLog([term.name for term in training.parts.recipe.terms])

    @property
    def finished(self) -> bool:
        """Whether all steps were taken."""
        return self.training.next == self.training.parts.config.steps

    def restore(self, path: Path | None = None) -> None:
        """Resume from a given checkpoint, or from the last one of the folder if it has any.

        Raises:
            CheckpointRejected: if the checkpoint is damaged, or belongs to other pairs, settings or backbones, or to
                another number of processes.
        """
        CHECKPOINT.resume(self.folder / CHECKPOINTS, path, self._digests(), self._load)

    def _load(self, checkpoint: TrainingCheckpoint) -> None:
        self.training.restore(checkpoint.tensors, checkpoint.step)
        self._log.restore(checkpoint.log)
        self.resumed_at = checkpoint.step

    def steps(self, note: Note) -> Iterator[Step]:
        """Take the remaining steps; write losses, previews, checkpoints and the model.

        Args:
            note: called with a message for each preview, and for each file that cannot be written.
        """
        self._write_to_tensorboard(lambda board: board.begin(self.resumed_at), note)
        config = self.training.parts.config
        timer = CheckpointTimer(config.checkpoint)
        if not self.training.next and config.previews:
            self._write_preview(0, note)
        for step in self.training.steps():
            taken = step.index + 1
            self._log.add(step)
            previewed = preview_is_due(taken, config.previews) or (config.previews > 0 and taken == config.steps)
            if previewed or taken % ROW_INTERVAL == 0 or taken == config.steps:
                self._write_losses(taken, note, with_held_out=previewed or taken == config.steps)
            if previewed:
                self._write_preview(taken, note)
            if timer.due(taken):
                with timer.writing():
                    self.write_checkpoint(note)
            yield step

    def write_checkpoint(self, note: Note) -> bool:
        """Write a checkpoint and the model, if this is the main process; return True if both were written."""

        def write() -> None:
            step = self.training.next
            content = {"step": step, "log": self._log.state()}
            CHECKPOINT.write(self.folder / CHECKPOINTS, step, self._digests(), content, self.training.state())

        resumable = self._attempt(write, "checkpoint", note)
        return self._attempt(self._write_model, "model", note) and resumable

    def finish(self, progress: ProgressReporter) -> bool:
        """Write a checkpoint and the model. After the last step, also measure the model and remove the checkpoints.

        Args:
            progress: reports each pair; if it stops the measurement, checkpoints stay, so that a resumed training
                measures the model.

        Returns:
            True if this process wrote the model and, if steps or metrics remain, a checkpoint.

        Raises:
            VitspliceError: if the model of a finished training cannot be written.
        """
        written = self.write_checkpoint(progress.note)
        if not self.training.processes.main or not self.finished:
            return written
        if self.training.parts.config.metrics == "all":
            metrics = held_out_metrics(self.training, self.held_out, progress)
            if metrics is None:
                self.measured = False
                return written
            self.metrics = metrics
        self._write_model()
        with suppress(OSError):
            remove_checkpoints(self.folder / CHECKPOINTS)
        return True

    def _write_losses(self, steps: int, note: Note, *, with_held_out: bool) -> None:
        losses = held_out_losses(self.training, self.held_out) if with_held_out and self.training.processes.main else {}
        row = self._log.end_row(steps, losses)
        self._attempt(lambda: output_folder.write(self.folder, {METRICS: self._log.csv().encode()}), METRICS, note)
        self._write_to_tensorboard(lambda board: board.add_row(row), note)

    def _write_preview(self, steps: int, note: Note) -> None:
        if not self.training.processes.main or (png := held_out_preview(self.training, self.held_out)) is None:
            return
        name = f"step-{steps:08d}.png"
        if self._attempt(lambda: output_folder.write(self.folder / PREVIEWS, {name: png}), "preview", note):
            note(f"preview {self.folder / PREVIEWS / name}")
        self._write_to_tensorboard(lambda board: board.add_preview(steps, png), note)

    def _write_to_tensorboard(self, write: Callable[[TensorBoard], object], note: Note) -> None:
        """Call ``write`` if there is a TensorBoard. A failure is noted, and nothing more is written to it."""
        try:
            if self._tensorboard:
                write(self._tensorboard)
        except OSError as error:
            self._tensorboard = None
            note(f"no more losses and previews for TensorBoard: {error.strerror or error}")

    def _write_model(self) -> None:
        training, parts = self.training, self.training.parts
        record = ModelRecord(
            versions=versions(),
            generator=GeneratorConfig(name=parts.generator_spec.name, options=dict(parts.options)),
            channels=dict(parts.channels),
            settings=parts.config,
            backbones={name: BackboneId.of(sized.backbone.info) for name, sized in parts.recipe.backbones.items()},
            initial=parts.initial.record.provenance() if parts.initial else None,
            licence=self._licence,
            steps=training.next,
            metrics=self.metrics,
        )
        images = {*training.data.digests.values(), *(parts.initial.images if parts.initial else ())}
        write_model(self.folder, training.average.state_dict(), images, record)

    def _attempt(self, write: Callable[[], object], what: str, note: Note) -> bool:
        """Call ``write`` in the main process only, and return True if it succeeds.

        A VitspliceError is not raised, but noted as "no ``what``: ...".
        """
        if not self.training.processes.main:
            return False
        try:
            write()
        except VitspliceError as error:
            note(f"no {what}: {error}")
            return False
        return True

    def _digests(self) -> dict[str, str]:
        """Return digests of what this training depends on, by name; they are the same in all processes."""
        parts = self.training.parts
        backbones = {name: sized.backbone for name, sized in parts.recipe.backbones.items()}
        return {
            "set of pairs": _pairs_digest(self.training.data),
            "held-out pairs": _pairs_digest(self.held_out),
            "settings": settings_digest(parts.config.model_copy(update={"device": parts.device.type})),
            "number of processes": str(self.training.processes.count),
            **backbone_digests(backbones),
        }


def _pairs_digest(data: TrainingData) -> str:
    """Return the digest of the bytes of the images of all pairs, in order."""
    return json_sha256([[data.digests[pair.structure], data.digests[pair.appearance]] for pair in data.pairs])
