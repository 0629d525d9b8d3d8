"""The comparison of backbones: what to compare, in a folder that keeps what is finished."""

from __future__ import annotations

import hashlib
import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitsplice.analysis import cell as cells
from vitsplice.analysis import comparison, intervals
from vitsplice.analysis.cell import Cells
from vitsplice.analysis.compare_page import report
from vitsplice.analysis.comparison import Comparison, Row
from vitsplice.analysis.subjects import Source, sources_of, styled
from vitsplice.contracts import Backbone, BackboneInfo
from vitsplice.engine.backbones import load_backbone
from vitsplice.engine.device import pick_device
from vitsplice.errors import AlreadyFinished, Argument, UserError, WeightsUnavailable
from vitsplice.images import read
from vitsplice.presets.settings import settings_for
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.record import versions
from vitsplice.runs.recorder import Recording
from vitsplice.support import output_folder as folders
from vitsplice.support.files import inside, safe_file_name
from vitsplice.support.output_folder import ResumableWork, resumable
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter

METRICS, INTERVALS, DIFFERENCES, REPORT = "metrics.csv", "intervals.csv", "differences.csv", "report.html"
WORK = ResumableWork("comparison", "compare.json", results=(METRICS, INTERVALS, DIFFERENCES, REPORT))

SHOWN = 6
"""Most transfers per backbone on the page of the report; the metrics cover all."""


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Args:
        images: paths of at least two images.
        backbones: names.
        masks: a folder with masks of the images' parts, by the stems of their names, or None.
        size: images are cut square and brought to so many pixels a side.
        style: preset by which an image gets its neighbour's look, as one more change of appearance; None for none.
        transfers: how many pairs of neighbours among the images are transferred with each backbone.
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
            raise UserError("give at least two images: a change is measured relative to the difference between images")
        if not self.backbones:
            raise UserError(
                "give at least one backbone (", Argument("backbone"), "); `vitsplice list backbones` names them"
            )


class BackboneComparison(Comparison):
    """A comparison that displays its report in a notebook."""

    def _repr_html_(self) -> str:
        page = html.escape(report(self), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 48rem; border: 0"></iframe>'


def compare(
    plan: Plan,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
) -> BackboneComparison | None:
    """Compare backbones; None if it was stopped. What is finished is kept in the folder; the same plan goes on with it.

    Raises:
        OutputExists: if the folder holds a comparison of another plan, or by other versions, without ``force``.
        OutputBusy: if another process is writing to it.
        VitspliceError: as reading images and loading backbones do, before anything that takes long.
    """
    infos = {name: load_backbone(name).info for name in dict.fromkeys(plan.backbones)}
    plain = sources_of(plan.images, plan.masks, plan.size)
    with resumable(Path(out), WORK, _told(plan, infos), force=force) as path:
        if (sources := _styled(plan, path, plain, progress)) is None:
            return None
        parts = _Parts(plan, path, infos, sources, progress)
        if (found := parts.cells()) is None or (runs := parts.transfers()) is None:
            return None
        made = _made(infos, sources, found, runs, progress)
        progress.part("report", parts.total, parts.total)
        files = {
            METRICS: made.csv(),
            INTERVALS: intervals.document(made),
            DIFFERENCES: intervals.differences_document(made),
            REPORT: report(made),
        }
        folders.write(path, {name: text.encode() for name, text in files.items()})
        return made


def _told(plan: Plan, infos: Mapping[str, BackboneInfo]) -> dict[str, Any]:
    """What is compared, as plain data, with the features of each backbone."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(plan), default=str))
    features = {
        name: {"structure": info.structure.facet, "appearance": info.appearance.facet, "layers": [*info.every_layer]}
        for name, info in infos.items()
    }
    return plain | {"features": features, "versions": versions()}


def _styled(plan: Plan, path: Path, sources: list[Source], progress: ProgressReporter) -> list[Source] | None:
    """The images with their neighbour's look; without it if there is to be no such change, or it is unavailable.

    None if it was stopped.
    """
    if plan.style is None:
        return sources
    try:
        return styled(sources, settings_for(plan.style, overrides=["metrics=none"]), inside(path, "styled"), progress)
    except WeightsUnavailable as error:
        progress.note(f"no change of style: {error}")
        return sources


@dataclass(frozen=True)
class _Parts:
    """What takes long: the cells, then the transfers. Each is None if it was stopped."""

    plan: Plan
    path: Path
    infos: Mapping[str, BackboneInfo]
    images: Sequence[Source]
    progress: ProgressReporter

    @property
    def total(self) -> int:
        """Of cells and transfers."""
        return len(self.infos) * (len(self.plan.images) + len(self._pairs))

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        """Each image with its neighbour, as many as are to be transferred."""
        number = len(self.plan.images)
        return [(n, (n + 1) % number) for n in range(min(self.plan.transfers, number))]

    def cells(self) -> dict[str, Cells] | None:
        """By backbone; each is computed and stored unless it is stored already."""
        made: dict[str, Cells] = {}
        digests: dict[str, str] = {}
        for name, info in self.infos.items():
            load = cache(partial(self._backbone, name))
            files: dict[str, Path] = {}
            for image in self.images:
                if self.progress.stopped():
                    return None
                self.progress.part(f"{name}, {image.name}", len(made) * len(self.images) + len(files), self.total)
                if image.name not in digests:
                    digests[image.name] = image.subject().digest
                file = f"{_key(info.sha256, digests[image.name])}.safetensors"
                files[image.name] = inside(self.path, f"cells/{_cells_folder(name)}/{file}")
                if cells.read(files[image.name]) is None:
                    cells.write(files[image.name], cells.look_at(image.subject(), load()))
            made[name] = Cells(files)
        return made

    def _backbone(self, name: str) -> Backbone:
        return load_backbone(name).to(pick_device(self.plan.device), torch.float32)

    def transfers(self) -> dict[tuple[str, str], RunFolder] | None:
        """The folders of finished runs, by backbone and pair."""
        made: dict[tuple[str, str], RunFolder] = {}
        for name, (here, there) in product(self.infos, self._pairs):
            pair = f"{self.images[here].name} from {self.images[there].name}"
            self.progress.part(f"{name}, {pair}", len(self.infos) * len(self.images) + len(made), self.total)
            run = self._transfer(name, self.plan.images[here], self.plan.images[there])
            if run is None:
                return None
            made[name, pair] = run
        return made

    def _transfer(self, name: str, structure: Path, appearance: Path) -> RunFolder | None:
        plan, images = self.plan, {"structure": structure, "appearance": appearance}
        settings = settings_for(
            plan.preset, backbone=name, steps=plan.steps, device=plan.device, overrides=["metrics=all"]
        )
        key = _key(settings.model_dump_json(), read(structure).sha256, read(appearance).sha256)
        folder = inside(self.path, f"transfers/{safe_file_name(name)}-{key}")
        try:
            with Recording.begin_or_resume(images, settings, folder) as recording:
                for _ in recording.steps(lambda _: None):
                    if self.progress.stopped():
                        recording.write_checkpoint(self.progress.note)
                        return None
                recording.save()
        except AlreadyFinished:
            pass
        return RunFolder(folder)


def _made(
    infos: Mapping[str, BackboneInfo],
    images: Sequence[Source],
    found: Mapping[str, Cells],
    runs: Mapping[tuple[str, str], RunFolder],
    progress: ProgressReporter,
) -> BackboneComparison:
    rows: list[Row] = []
    for number, (name, of_backbone) in enumerate(found.items()):
        progress.part(f"numbers of {name}", number, len(found) + 1)
        rows += comparison.rows_of(infos[name], of_backbone)
    progress.part("agreement of layers", len(found), len(found) + 1)
    agreed = comparison.agreement(found)
    for (name, pair), run in runs.items():
        measured = [f for f in run.record()["metrics"] if f["value"] is not None]
        rows += [Row(name, "", -1, "transfer", f["name"], pair, f["value"]) for f in measured]
    shown = list(dict.fromkeys(pair for _, pair in runs))[:SHOWN]
    return BackboneComparison(
        infos=infos,
        images=tuple(image.name for image in images),
        rows=(*rows, *comparison.agreement_rows(infos, agreed)),
        agreement=agreed,
        transfers={at: read(run.output).pixels[0] for at, run in runs.items() if at[1] in shown},
        inputs={pair: _inputs(images, number) for number, pair in enumerate(shown)},
        changed={name: pixels[0] for name, pixels in images[0].subject().changed.items()},
    )


def _inputs(images: Sequence[Source], number: int) -> tuple[Tensor, Tensor]:
    """Structure image and appearance image of a transfer."""
    here, there = (images[n % len(images)].image for n in (number, number + 1))
    return read(here).pixels[0], read(there).pixels[0]


def _cells_folder(name: str) -> str:
    """The folder of a backbone's cells: its name, with a digest if the name had to be changed for the file system."""
    stem = safe_file_name(name)
    return stem if stem == name else f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _key(*parts: str) -> str:
    """A digest of the parts and of the versions of all packages that results depend on."""
    return hashlib.sha256("".join([*parts, str(versions())]).encode()).hexdigest()[:16]
