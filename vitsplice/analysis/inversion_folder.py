"""The folder of the inversions of one image: the plan, the run of each feature, and the contact sheet."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from pydantic import BaseModel, Field
from torch import Tensor

from vitsplice.analysis.inversion import TERM, InversionPlan, Inversions
from vitsplice.config import RunConfig
from vitsplice.contracts import FeatureRequest
from vitsplice.engine.values import last_loss
from vitsplice.errors import AlreadyFinished, UserError
from vitsplice.images import encode_png, read
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.record import versions
from vitsplice.runs.recorder import Recording
from vitsplice.support import output_folder
from vitsplice.support.files import absolute, inside, read_json_object
from vitsplice.support.input_files import check_inputs_survive
from vitsplice.support.resumable_work import ResumableWork, other_format, resumable

SHEET, PLAN_FILE = "inversions.png", "inversions.json"

FORMAT = 3
"""Format of the plan file."""


class _StoredImage(BaseModel):
    path: Path
    sha256: str


class _StoredPlan(BaseModel):
    """Content of the plan file. The term `TERM` in the settings of an inversion names the feature."""

    format: int
    image: _StoredImage
    layers: int
    substitutions: tuple[str, ...]
    inversions: list[RunConfig] = Field(min_length=1)
    versions: dict[str, str]


def inversion_folder(
    plan: InversionPlan, out: str | os.PathLike[str], *, force: bool = False
) -> AbstractContextManager[Path]:
    """Lock a folder for the inversions of a plan (context manager); finished inversions of the same plan are reused.

    Raises:
        ImageError: if the image cannot be read.
        UserError: if the image is a file in the folder that would be replaced or removed.
        OutputExists, OutputBusy: see `vitsplice.support.resumable_work.resumable`.
    """
    path = Path(out)
    stored = _StoredPlan(
        format=FORMAT,
        image=_StoredImage(path=absolute(plan.image), sha256=read(plan.image).sha256),
        layers=plan.layers,
        substitutions=plan.substitutions,
        inversions=list(plan.settings.values()),
        versions=versions(),
    )
    folders = set(plan.run_folders.values())
    with suppress(UserError):
        folders |= set(read_plan(path).run_folders.values())
    output_folder.refuse_nul(path)
    check_inputs_survive([plan.image], [path / SHEET, path / PLAN_FILE])
    for name in folders:
        RunFolder(inside(path, name)).check_inputs([plan.image])
    work = ResumableWork("inversion", PLAN_FILE, results=(SHEET, *sorted(folders)), clear=_remove_run)
    return resumable(path, work, stored.model_dump(mode="json"), force=force)


def _remove_run(folder: Path) -> None:
    """Remove the files of a run, and its folder if nothing else is in it."""
    RunFolder(folder).clear()
    output_folder.remove_empty([folder])


def read_plan(out: str | os.PathLike[str]) -> InversionPlan:
    """Read and validate the plan in a folder.

    Raises:
        UserError: if the folder holds no valid plan of this version's format.
    """
    record = read_json_object(Path(out) / PLAN_FILE)
    reason = other_format(record, FORMAT) if record else f"it has no {PLAN_FILE} that can be read"
    if reason:
        raise UserError(f"{out} holds no inversions that can be resumed: {reason}")
    try:
        stored = _StoredPlan.model_validate(record)
        settings = {_request_of(config, stored.layers): config for config in stored.inversions}
        return InversionPlan(stored.image.path, settings, stored.layers, stored.substitutions)
    except (KeyError, ValueError, UserError) as error:
        raise UserError(f"{out} holds no inversions that can be resumed: its {PLAN_FILE} is invalid") from error


def _request_of(settings: RunConfig, layers: int) -> FeatureRequest:
    """Return the feature of an inversion. Raises KeyError without `TERM`, ValueError for an invalid feature."""
    term = settings.terms[TERM]
    facet, layer = term.facet, term.layer
    if facet is None or layer is None or not -layers <= layer < 0:
        raise ValueError(f"invalid facet {facet!r} or layer {layer!r}")
    return FeatureRequest(facet, layer)


def record_inversion(plan: InversionPlan, request: FeatureRequest, out: Path) -> Recording | None:
    """Begin or resume the run of one feature; None if it is finished.

    A finished run whose results cannot be read is restarted.
    """
    images, folder = {"structure": plan.image, "appearance": plan.image}, inside(out, plan.run_folders[request])
    try:
        return Recording.begin_or_resume(images, plan.settings[request], folder)
    except AlreadyFinished:
        with suppress(UserError):
            _read_result(RunFolder(folder))
            return None
    return Recording.begin(images, plan.settings[request], folder, force=True)


def read_inversions(plan: InversionPlan, out: Path) -> Inversions:
    """Read the results of finished inversions. Raises UserError if one cannot be read."""
    outputs, losses = {}, {}
    for request, name in plan.run_folders.items():
        outputs[request], losses[request] = _read_result(RunFolder(inside(out, name)))
    return Inversions(read(plan.image).pixels, outputs, losses, plan.layers)


def _read_result(folder: RunFolder) -> tuple[Tensor, float]:
    """Read the output ``(3, h, w)`` and the loss of a finished inversion. Raises UserError if either cannot be read."""
    return read(folder.output).pixels[0], last_loss(folder.losses(), TERM)


def save_sheet(inversions: Inversions, out: Path) -> Path:
    """Write the contact sheet and return its path. Raises VitspliceError if it cannot be written."""
    output_folder.write(out, {SHEET: encode_png(inversions.sheet)})
    return out / SHEET
