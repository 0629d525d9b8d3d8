"""The plan of a training, which is stored in the folder of its model so that the training can be resumed."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vitsplice.config import ModelConfig, RunConfig
from vitsplice.datasets.pair import check_text
from vitsplice.errors import Argument, CheckpointRejected, ConfigError, ModelRejected, UserError
from vitsplice.models.folder import WEIGHTS
from vitsplice.presets import loading
from vitsplice.presets.model_folder import MAX_LICENCE, RECORD, pinned_model, read_record
from vitsplice.presets.settings import pinned
from vitsplice.support.checkpoints import checkpoint_files, checkpoint_parts
from vitsplice.support.files import absolute, cache_folder, read_json_object
from vitsplice.support.output_folder import REPLACE
from vitsplice.support.resumable_work import ResumableWork, adopt_plan, other_format, remove, resumable
from vitsplice.text import printable
from vitsplice.training.parts import check_training

PLAN, CHECKPOINTS, PREVIEWS, METRICS = "training.json", "checkpoint", "previews", "metrics.csv"
HELD_OUT = "held-out.csv"

FORMAT = 1

PART_KEYS = ("settings", "source", "licence", "initial")
"""Keys of the plan whose change makes checkpoints and previews invalid; a change of the cache does not."""


def _clear(folder: Path) -> None:
    """Remove checkpoints or previews from the folder that holds them. May raise OSError."""
    for path in [*checkpoint_parts(folder), *folder.glob("step-*.png")]:
        path.unlink(missing_ok=True)


WORK = ResumableWork(
    "training",
    PLAN,
    (CHECKPOINTS, PREVIEWS),
    (WEIGHTS, RECORD, METRICS, HELD_OUT),
    PART_KEYS,
    clear=_clear,
    deferred=True,
)


@dataclass(frozen=True)
class TrainingPlan:
    """Source of images, settings, licence and initial model of a training.

    Args:
        source: manifest of pairs, or another source of images (`vitsplice.training.pairs.training_pairs`).
        settings: settings with ``training``.
        licence: licence of the model, as stated by the person who trains it.
        cache: folder of the features of images; None: ``training`` in `vitsplice.support.files.cache_folder`.
        initial: model whose weights the training starts from; None: random weights.
    """

    source: Path
    settings: RunConfig
    licence: str = ""
    cache: Path | None = None
    initial: ModelConfig | None = None

    @classmethod
    def create(
        cls,
        source: str | os.PathLike[str],
        settings: RunConfig,
        *,
        licence: str = "",
        cache: Path | None = None,
        initial: Path | None = None,
    ) -> TrainingPlan:
        """Create a plan. The settings, the existence of the source and the initial model's record are checked first.

        Raises:
            ConfigError, UserError, ModelRejected: if one of these cannot be used, or the licence cannot be recorded.
        """
        check_training(settings)
        path = absolute(source)
        if not os.path.exists(path):
            raise UserError(f"{source} does not exist; give a folder of photographs, or a manifest of pairs")
        licence = licence.strip()
        check_text("licence", licence)
        if len(licence) > MAX_LICENCE:
            raise UserError(
                Argument("licence"),
                f" has {len(licence)} characters; at most {MAX_LICENCE} are allowed: give a name or an address",
            )
        return cls(
            path,
            pinned(settings),
            licence,
            None if cache is None else absolute(cache),
            None if initial is None else pinned_model(ModelConfig(folder=initial)),
        )

    @classmethod
    def read(cls, folder: Path) -> TrainingPlan:
        """Read the plan of a training that was begun in a folder.

        Raises:
            UserError: if the folder holds no training.
            CheckpointRejected: if its plan is corrupt or of another format.
        """
        if not (folder / PLAN).is_file():
            raise UserError(
                f"{folder} holds no training: it has no {PLAN}. Give the folder of a training; or, if its preparation "
                "was stopped, repeat the command that began it"
            )
        content = read_json_object(folder / PLAN)
        if "format" in content and (reason := other_format(content, FORMAT)):
            raise CheckpointRejected(f"{folder / PLAN} cannot be used: {reason}. Restart the training with ", REPLACE)
        try:
            settings = loading.validate(content["settings"], str(folder / PLAN))
            cache, initial = content["cache"], content["initial"]
            return cls(
                Path(content["source"]),
                settings,
                str(content["licence"]),
                None if cache is None else Path(cache),
                None if initial is None else ModelConfig.model_validate(initial),
            )
        except (KeyError, TypeError, AttributeError, ValidationError, ConfigError) as error:
            raise CheckpointRejected(f"{folder / PLAN} is corrupt; restart the training with ", REPLACE) from error

    @property
    def cache_folder(self) -> Path:
        """Folder of the features of images."""
        return self.cache or cache_folder() / "training"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as data for JSON."""
        return {
            "format": FORMAT,
            "settings": self.settings.model_dump(mode="json"),
            "source": str(self.source),
            "licence": self.licence,
            "cache": None if self.cache is None else str(self.cache),
            "initial": None if self.initial is None else self.initial.model_dump(mode="json"),
        }

    def finished(self, folder: Path) -> bool:
        """Return whether a folder holds the model after all steps, and no checkpoints, which are removed last."""
        if checkpoint_files(folder / CHECKPOINTS):
            return False
        try:
            return read_record(folder).steps == self.settings.steps
        except ModelRejected:
            return False

    def locked_folder(self, out: Path, *, force: bool = False) -> AbstractContextManager[Path]:
        """Lock the folder of the model; checkpoints of the same plan are not removed.

        Args:
            out: folder of the model; created if it does not exist.
            force: allow another training in the folder; its files stay until `replace` is called.

        Raises:
            OutputExists: if the folder holds another training or model, and ``force`` is not given.
            OutputBusy: if another process trains in it.
            UserError: if the folder holds the source or the model to start from, which would be replaced; if the cache
                is the folder itself, or its folder of checkpoints or previews; or if the path is a file.
        """
        if self.initial and os.path.realpath(self.initial.folder) == os.path.realpath(out):
            raise UserError(f"{out} holds the model to start from, which would be replaced; choose another folder")
        if os.path.realpath(self.source) in {os.path.realpath(out / name) for name in WORK.files}:
            raise UserError(f"{out} holds the source {self.source}, which would be replaced; choose another folder")
        if os.path.realpath(self.cache_folder) in {os.path.realpath(out / name) for name in ("", *WORK.parts)}:
            raise UserError(
                Argument("cache"),
                f" {printable(str(self.cache_folder))} is a folder of the model; choose another folder",
            )
        return resumable(out, WORK, self.to_json(), force=force)

    def replace(self, folder: Path) -> None:
        """Remove what another training left in a folder that `locked_folder` has locked, and write this plan into it.

        Raises:
            VitspliceError: if a file cannot be written or removed.
        """
        adopt_plan(folder, WORK, self.to_json())


def remove_training(folder: Path) -> None:
    """Remove what a training wrote into its folder, except the plan. Raises VitspliceError if that is not possible."""
    remove(folder, (*WORK.parts, *WORK.results), WORK.clear)
