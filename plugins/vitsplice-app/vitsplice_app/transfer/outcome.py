"""Views of runs that have ended, read from their folders."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitsplice.metrics.leakage import REMARKS
from vitsplice.presets.changes import Changes, changes_from_preset
from vitsplice.runs.artifacts import SETTINGS
from vitsplice.runs.record import describe_seconds, image_names, legend
from vitsplice.runs.repeat import command_line, python_code
from vitsplice.support.files import atomic_replacement, is_temporary
from vitsplice.support.folder_lock import LOCK
from vitsplice_app.live import loss_curves
from vitsplice_app.transfer.history import TransferRun

if TYPE_CHECKING:
    from PIL.Image import Image

OUT = "again"
"""Output folder of the command line and the Python code that repeat a run."""


def summary(run: TransferRun) -> str:
    """Describe a run in one line: name, preset, number of steps (if any), duration."""
    record = run.folder.record()
    taken, requested = record["steps"]["taken"], record["steps"]["requested"]
    steps = f", {taken} steps" if taken else ""
    if not record["finished"]:
        steps = f", stopped after {taken} of {requested} steps"
    return f"{run.name}: {run.settings.preset}{steps}, {describe_seconds(record)}"


def before_and_after(runs: Sequence[TransferRun]) -> tuple[tuple[Image, Image], str]:
    """Return two images to compare, resized to the size of the second, and their label.

    Args:
        runs: one run: its structure image and its output are compared; or two runs: their outputs are compared.
    """
    from vitsplice.images import read, to_pil

    first, last = runs[0], runs[-1]
    left = first.path / first.images["structure"] if first is last else first.folder.output
    before, after = (to_pil(read(path).pixels) for path in (left, last.folder.output))
    names = ("structure image", "output") if first is last else (first.name, last.name)
    return (before if before.size == after.size else before.resize(after.size), after), " | ".join(names)


def metrics_html(runs: Sequence[TransferRun]) -> str:
    """Format metrics as a table in HTML; "" if the last run has none.

    Args:
        runs: one run: its metrics, also those of its start and of the unchanged structure image where they were
            measured; or two runs: the metrics of the last one, with the values of both.
    """
    records = [run.folder.record() for run in runs]
    metrics = [{metric["name"]: metric for metric in record["metrics"]} for record in records]
    last, images = metrics[-1], image_names(records[-1])
    if len(runs) > 1:
        columns = {
            run.name: [measured.get(name, {}).get("value") for name in last]
            for run, measured in zip(runs, metrics, strict=True)
        }
    else:
        keys = {"output": "value", "start": "start", "unchanged": "unchanged"}
        columns = {column: [metric[key] for metric in last.values()] for column, key in keys.items()}
        columns = {column: values for column, values in columns.items() if values != [None] * len(values)}
    cells = {column: [_number(value) for value in values] for column, values in columns.items()}
    cells["compared with"] = [images[metric["against"]] for metric in last.values()]
    return _table(last, cells) if last else ""


def losses_html(run: TransferRun) -> str:
    """Format the losses of a run as HTML; "" without losses.

    A fallback may have added terms to those of the requested settings.
    """
    steps = run.folder.losses()
    return loss_curves(steps, list(dict.fromkeys(name for step in steps for name in step.losses)))


def notes_html(notes: Sequence[str]) -> str:
    """Format messages to the user as HTML; "" without messages."""
    return "".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def repeat_code(run: TransferRun) -> tuple[str, str]:
    """Return the command line and the Python code that repeat a run in the unzipped folder of its download."""
    changes = changes_from_preset(run.settings) or Changes(SETTINGS)
    images, regions = run.images, run.regions
    return command_line(images, changes, OUT, regions=regions), python_code(images, changes, OUT, regions=regions)


def resolved_settings(run: TransferRun) -> str:
    """Return the settings that a run used, as YAML, with the device, the precision and the backbones in use."""
    return (run.path / SETTINGS).read_text(encoding="utf-8")


def zip_path(run: TransferRun, folder: Path) -> Path:
    """Return the path that the zip file of a run has in a folder."""
    return folder / f"vitsplice-{run.path.name}.zip"


def zip_run(run: TransferRun, folder: Path) -> Path:
    """Write a zip file with all files of a run except the lock and temporary files, and return its path.

    An earlier zip file of the run is replaced in one step, which does not disturb a download of it. Files that
    disappear meanwhile are left out.

    Args:
        run: run that has ended; if it was resumed since, it may be running again.
        folder: folder of the zip file, which exists.
    """
    path = zip_path(run, folder)
    with atomic_replacement(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in _files_to_download(run):
            with suppress(FileNotFoundError):
                archive.write(file, Path(run.path.name) / file.relative_to(run.path))
    return path


def _files_to_download(run: TransferRun) -> list[Path]:
    """List the files of a run except its lock and temporary files.

    `os.walk` accepts that a folder disappears meanwhile; `Path.rglob` does so only from Python 3.12 on.
    """
    files = [Path(folder, name) for folder, _, names in os.walk(run.path) for name in names]
    return sorted(file for file in files if file.name != LOCK and not is_temporary(file.name))


def _table(metrics: Mapping[str, Mapping[str, Any]], columns: Mapping[str, Sequence[str]]) -> str:
    """Format metrics by name, with remarks, and the cells of further columns as a table in HTML."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("metric", *columns))
    rows = []
    for (name, metric), cells in zip(metrics.items(), zip(*columns.values(), strict=True), strict=True):
        label = f'<th scope="row">{escape(name)}{_remark(metric)}</th>'
        rows.append(f"<tr>{label}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    head = f"<caption>{legend(columns)}</caption><thead><tr>{heads}</tr></thead>"
    return f'<table class="metrics">{head}<tbody>{"".join(rows)}</tbody></table>'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _remark(metric: Mapping[str, Any]) -> str:
    remarks = [REMARKS.get(metric["leakage"], ""), metric["reason"] and f"not measured: {metric['reason']}"]
    text = "; ".join(filter(None, remarks))
    return f"<small>{escape(text)}</small>" if text else ""
