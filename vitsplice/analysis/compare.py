"""The comparison of backbones: what to compare, in a folder that keeps what is finished."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from vitsplice.analysis import cell as cells
from vitsplice.analysis import comparison
from vitsplice.analysis.cell import Cell, Subject
from vitsplice.analysis.compare_page import report
from vitsplice.analysis.comparison import Comparison, Row
from vitsplice.analysis.subjects import styled, subjects_of
from vitsplice.api import load_backbone, settings_for
from vitsplice.contracts import Backbone, BackboneInfo
from vitsplice.engine.device import pick_device
from vitsplice.errors import AlreadyFinished, Argument, UserError, VitspliceError, WeightsUnavailable
from vitsplice.facts import versions
from vitsplice.files import file_stem, inside
from vitsplice.images import read
from vitsplice.recording import Recording
from vitsplice.report import folder as folders
from vitsplice.report.artifacts import RunFolder
from vitsplice.report.kept import Work, kept
from vitsplice.watch import NOBODY, Watch

FIGURES, REPORT = "figures.csv", "report.html"
WORK = Work("comparison", "compare.json", results=(FIGURES, REPORT))


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
            raise UserError(
                "give at least one backbone (", Argument("backbone"), "); `vitsplice list backbones` names them"
            )


def compare(
    plan: Plan,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    watch: Watch = NOBODY,
) -> Comparison | None:
    """Compare backbones; None if it was stopped. What is finished is kept in the folder; the same plan goes on with it.

    Raises:
        OutputExists: if the folder holds a comparison of another plan, or by other versions, without ``force``.
        OutputBusy: if another process is writing to it.
        VitspliceError: as reading pictures and loading backbones do, before anything that takes long.
    """
    infos = {name: load_backbone(name).info for name in dict.fromkeys(plan.backbones)}
    plain = subjects_of(plan.images, plan.masks, plan.size)
    with kept(Path(out), WORK, _told(plan), force=force) as path:
        parts = _Parts(plan, path, infos, watch)
        if (subjects := _styled(plan, path, plain, watch)) is None:
            return None
        if (found := parts.cells(subjects)) is None or (runs := parts.transfers(subjects)) is None:
            return None
        watch.part("report", parts.total, parts.total)
        made = _made(infos, subjects, found, runs)
        folders.write(path, {FIGURES: made.csv().encode(), REPORT: report(made).encode()})
        return made


def _told(plan: Plan) -> dict[str, Any]:
    """What is compared, as plain data."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(plan), default=str))
    return plain | {"versions": versions()}


def _styled(plan: Plan, path: Path, plain: list[Subject], watch: Watch) -> list[Subject] | None:
    """The pictures, each in its neighbour's look too; as they are if there is to be no such change, or cannot be.

    None if it was stopped.
    """
    if plan.style is None:
        return plain
    try:
        return styled(plain, settings_for(plan.style, overrides=["figures=none"]), inside(path, "styled"), watch)
    except WeightsUnavailable as error:
        watch.note(f"no change of style: {error}")
        return plain


@dataclass(frozen=True)
class _Parts:
    """What takes long: the cells, then the transfers. Each is None if it was stopped."""

    plan: Plan
    path: Path
    infos: Mapping[str, BackboneInfo]
    watch: Watch

    @property
    def total(self) -> int:
        """Of cells and transfers."""
        return len(self.infos) * (len(self.plan.images) + len(self._pairs))

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        """Each picture with its neighbour, as many as are to be transferred."""
        number = len(self.plan.images)
        return [(n, (n + 1) % number) for n in range(min(self.plan.transfers, number))]

    def cells(self, subjects: Sequence[Subject]) -> dict[str, dict[str, Cell]] | None:
        """By backbone and picture."""
        found: dict[str, dict[str, Cell]] = {}
        for name, info in self.infos.items():
            load = cache(partial(self._backbone, name))
            found[name] = {}
            for subject in subjects:
                if self.watch.stopped():
                    return None
                self.watch.part(f"{name}, {subject.name}", sum(map(len, found.values())), self.total)
                key = _key(info.sha256, subject.digest)
                file = inside(self.path, f"cells/{file_stem(name)}/{key}.safetensors")
                found[name][subject.name] = _cell(file, subject, load)
        return found

    def _backbone(self, name: str) -> Backbone:
        return load_backbone(name).to(pick_device(self.plan.device), torch.float32)

    def transfers(self, subjects: Sequence[Subject]) -> dict[tuple[str, str], RunFolder] | None:
        """The folders of finished runs, by backbone and pair."""
        made: dict[tuple[str, str], RunFolder] = {}
        for name, (here, there) in product(self.infos, self._pairs):
            pair = f"{subjects[here].name} from {subjects[there].name}"
            self.watch.part(f"{name}, {pair}", len(self.infos) * len(subjects) + len(made), self.total)
            run = self._transfer(name, self.plan.images[here], self.plan.images[there])
            if run is None:
                return None
            made[name, pair] = run
        return made

    def _transfer(self, name: str, structure: Path, appearance: Path) -> RunFolder | None:
        plan, pictures = self.plan, {"structure": structure, "appearance": appearance}
        settings = settings_for(
            plan.preset, backbone=name, steps=plan.steps, device=plan.device, overrides=["figures=all"]
        )
        key = _key(settings.model_dump_json(), read(structure).sha256, read(appearance).sha256)
        folder = inside(self.path, f"transfers/{file_stem(name)}-{key}")
        try:
            with Recording.begin_or_resume(pictures, settings, folder) as recording:
                for _ in recording.steps(lambda _: None):
                    if self.watch.stopped():
                        recording.keep(self.watch.note)
                        return None
                recording.save()
        except AlreadyFinished:
            pass
        return RunFolder(folder)


def _cell(file: Path, subject: Subject, load: Callable[[], Backbone]) -> Cell:
    """The cell of a backbone and a picture, which a file keeps, or is made and kept now."""
    if (one := cells.read(file)) is None:
        cells.write(file, cells.look_at(subject, load()))
        one = cells.read(file)
    if one is None:
        raise VitspliceError(f"{file} cannot be read back")
    return one


def _made(
    infos: Mapping[str, BackboneInfo],
    subjects: Sequence[Subject],
    found: Mapping[str, Mapping[str, Cell]],
    runs: Mapping[tuple[str, str], RunFolder],
) -> Comparison:
    agreed, places = comparison.agreement(found), comparison.places_of(infos)
    rows = [row for name, of_backbone in found.items() for row in comparison.rows_of(name, of_backbone)]
    for (name, pair), run in runs.items():
        measured = [f for f in run.facts()["figures"] if f["value"] is not None]
        rows += [Row(name, -1, "transfer", f["name"], pair, f["value"]) for f in measured]
    return Comparison(
        infos=infos,
        pictures=tuple(subject.name for subject in subjects),
        rows=(*rows, *comparison.agreement_rows(places, agreed)),
        agreement=agreed,
        transfers={at: read(run.output).pixels[0] for at, run in runs.items()},
        changed={name: pixels[0] for name, pixels in subjects[0].changed.items()},
    )


def _key(*parts: str) -> str:
    """Of something that depends on these, and on the versions of what made it."""
    return hashlib.sha256("".join([*parts, str(versions())]).encode()).hexdigest()[:16]
