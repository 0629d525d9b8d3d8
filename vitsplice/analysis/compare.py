"""The comparison of backbones: what to compare, in a folder that keeps what is finished."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from vitsplice.analysis import cell as cells
from vitsplice.analysis import comparison
from vitsplice.analysis.cell import Cell, Subject
from vitsplice.analysis.compare_page import report
from vitsplice.analysis.comparison import Comparison, Row
from vitsplice.analysis.subjects import styled, subjects_of
from vitsplice.api import load_backbone, settings_for
from vitsplice.config import RunConfig
from vitsplice.contracts import BackboneInfo
from vitsplice.engine.device import pick_device
from vitsplice.errors import AlreadyFinished, OutputExists, UserError, VitspliceError, WeightsUnavailable
from vitsplice.facts import versions
from vitsplice.files import file_stem
from vitsplice.images import read
from vitsplice.recording import Recording
from vitsplice.report import folder as folders
from vitsplice.report.artifacts import RunFolder
from vitsplice.report.lock import FolderLock
from vitsplice.watch import NOBODY, Watch

BEGUN, FIGURES, REPORT = "compare.json", "figures.csv", "report.html"


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Args:
        images: paths of at least two pictures.
        backbones: names.
        masks: a folder with masks of the pictures' parts, by the stems of their names, or None.
        size: pictures are cut square and brought to so many pixels a side.
        style: preset by which a picture gets its neighbour's look, as one more change of appearance; None for none.
        transfers: how many pairs of neighbours among the pictures are transferred with each backbone.
        preset: of the transfers.
        steps: of the transfers; None is the preset's.
        device: see `vitsplice.engine.device.pick_device`.
    """

    images: tuple[Path, ...]
    backbones: tuple[str, ...]
    masks: Path | None = None
    size: int = 224
    transfers: int = 1
    preset: str = "quick"
    steps: int | None = None
    style: str | None = "instant"
    device: str = "auto"

    def __post_init__(self) -> None:
        if len(self.images) < 2:
            raise UserError("give at least two pictures: a change counts by how much another picture would change")
        if not self.backbones:
            raise UserError("give at least one backbone with --backbone; `vitsplice list backbones` names them")


def compare(
    plan: Plan,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    watch: Watch = NOBODY,
) -> Comparison | None:
    """Compare backbones; None if it was stopped. What is finished is kept in the folder; the same plan goes on with it.

    Raises:
        OutputExists: if the folder holds a comparison of another plan and ``force`` is not given.
        OutputBusy: if another process is writing to it.
        VitspliceError: as reading pictures and loading backbones do, before anything that takes long.
    """
    infos = {name: load_backbone(name).info for name in dict.fromkeys(plan.backbones)}
    plain = subjects_of(plan.images, plan.masks, plan.size)
    with _folder(Path(out), plan, force) as path:
        subjects = _styled(plan, path, plain, watch.note)
        pairs = [(n, (n + 1) % len(subjects)) for n in range(min(plan.transfers, len(subjects)))]
        total, done = len(infos) * (len(subjects) + len(pairs)), 0
        watch.part("cells", done, total)
        found: dict[str, dict[str, Cell]] = {}
        transfers: dict[tuple[str, str], Tensor] = {}
        rows: list[Row] = []
        for name in infos:
            found[name] = {}
            for subject, one in _cells(plan, path, name, infos[name], subjects):
                done += 1
                watch.part(f"{name}, {subject.name}", done, total)
                found[name][subject.name] = one
                if watch.stopped():
                    return None
            rows += comparison.rows_of(name, found[name])
        for name in infos:
            for here, there in pairs:
                label = f"{subjects[here].name} from {subjects[there].name}"
                watch.part(f"{name}, {label}", done, total)
                run = _transfer(plan, path, name, plan.images[here], plan.images[there], watch)
                if run is None:
                    return None
                transfers[name, label] = read(run.output).pixels[0]
                done += 1
                rows += [Row(name, -1, "transfer", f["name"], label, f["value"]) for f in run.facts()["figures"]]
        agreed = comparison.agreement(found)
        places = [(name, layer) for name, info in infos.items() for layer in cells.layers_of(info)]
        made = Comparison(
            infos=infos,
            pictures=tuple(subject.name for subject in subjects),
            rows=(*rows, *comparison.agreement_rows(places, agreed)),
            agreement=agreed,
            transfers=transfers,
            changed={name: pixels[0] for name, pixels in subjects[0].changed.items()},
        )
        folders.write(path, {FIGURES: made.csv().encode(), REPORT: report(made).encode()})
        return made


@contextmanager
def _folder(path: Path, plan: Plan, force: bool) -> Iterator[Path]:
    """The folder, for this process alone; it says what is compared."""
    if path.exists() and not path.is_dir():
        raise UserError(f"output folder {path} is a file; choose another -o")
    told = json.dumps(asdict(plan), default=str, indent=2) + "\n"
    there = path / BEGUN
    if there.exists() and there.read_text() != told and not force:
        raise OutputExists(f"{path} holds another comparison; choose another -o, or add --force to replace it")
    folders.write(path, {BEGUN: told.encode()})
    lock = FolderLock(path)
    try:
        yield path
    finally:
        lock.release()


def _styled(plan: Plan, path: Path, plain: list[Subject], note: Callable[[str], object]) -> list[Subject]:
    """The pictures, each in its neighbour's look too; as they are if there is to be no such change, or cannot be."""
    if plan.style is None:
        return plain
    try:
        return styled(plain, settings_for(plan.style, overrides=["figures=none"]), path / "styled")
    except WeightsUnavailable as error:
        note(f"no change of style: {error}")
        return plain


def _cells(
    plan: Plan, path: Path, name: str, info: BackboneInfo, subjects: list[Subject]
) -> Iterator[tuple[Subject, Cell]]:
    """The cells of a backbone: those that are kept, and those that are made now."""
    backbone = None
    for subject in subjects:
        key = hashlib.sha256(f"{info.sha256}{subject.digest}{versions()}".encode()).hexdigest()[:16]
        kept = path / "cells" / file_stem(name) / f"{key}.safetensors"
        one = cells.read(kept)
        if one is None:
            backbone = backbone or load_backbone(name).to(pick_device(plan.device), torch.float32)
            cells.write(kept, cells.look_at(subject, backbone))
            one = cells.read(kept)
        if one is None:
            raise VitspliceError(f"{kept} cannot be read back")
        yield subject, one


def _transfer(plan: Plan, path: Path, name: str, structure: Path, appearance: Path, watch: Watch) -> RunFolder | None:
    """The folder of a finished run, which is begun, gone on with, or there already; None if it was stopped."""
    settings = settings_for(plan.preset, backbone=name, steps=plan.steps, device=plan.device, overrides=["figures=all"])
    pictures = {"structure": structure, "appearance": appearance}
    folder = path / "transfers" / f"{file_stem(name)}-{_key(settings, pictures)}"
    try:
        with Recording.begin_or_resume(pictures, settings, folder) as recording:
            for _ in recording.steps(lambda _: None):
                if watch.stopped():
                    recording.keep(watch.note)
                    return None
            recording.save()
    except AlreadyFinished:
        pass
    return RunFolder(folder)


def _key(settings: RunConfig, pictures: Mapping[str, Path]) -> str:
    digests = [read(path).sha256 for path in pictures.values()]
    return hashlib.sha256("".join([settings.model_dump_json(), *digests]).encode()).hexdigest()[:16]
