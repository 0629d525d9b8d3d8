"""Transfer of an appearance to a video, from file to file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vitsplice.config import RunConfig
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.errors import OutputExists, UserError
from vitsplice.images import Source, resize_to
from vitsplice.presets.settings import settings_for
from vitsplice.runs.checkpoints import backbone_digests, settings_digest
from vitsplice.runs.inputs import as_sequence
from vitsplice.support.files import file_sha256, read_json_object, reading
from vitsplice.support.folder_lock import FolderLock
from vitsplice.support.output_folder import REPLACE, check_name, write
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.support.resumable_work import resumable
from vitsplice.text import printable
from vitsplice.video.appearances import Appearances
from vitsplice.video.conversion import Conversion, Stopped
from vitsplice.video.destination import Destination, FileDestination, check_free, destination_for
from vitsplice.video.paths import check_paths, output_with_name
from vitsplice.video.source import VideoInfo, open_source
from vitsplice.video.transfer import load_transfer
from vitsplice.video.work import (
    MAY_REPLACE,
    RECORD,
    REPORT,
    WORK,
    earlier_frames,
    remove_parts,
)

KEY_EVERY = 12
"""Default maximum number of frames from one key frame to the next."""

MAX_KEY_EVERY = 120
"""Maximum of ``key_every``: all frames of a segment are in memory."""

FORMAT = 3
"""Version of the format of the plan and of ``video.json``; work in another format is not resumed."""


@dataclass(frozen=True)
class VideoResult:
    """A finished video.

    Args:
        path: the output.
        folder: folder of the report and the records.
        record: the content of ``video.json``.
    """

    path: Path
    folder: Path
    record: dict[str, Any]


def splice_video(
    source: str | os.PathLike[str],
    appearance: Source | Sequence[Source],
    out: str | os.PathLike[str],
    preset: str | os.PathLike[str] | RunConfig = "instant",
    *,
    temporal: bool = True,
    key_every: int = KEY_EVERY,
    appearance_mask: Source | Sequence[Source | None] | None = None,
    appearance_weights: Sequence[float] | None = None,
    force: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
    **settings: Any,
) -> VideoResult | None:
    """Transfer the appearance of one or several images to a video.

    If the output is a video file, it has the frame rate, times, colour space and audio of the input, as far as its
    format allows. The records are in a folder beside the output, ``NAME-video`` for ``NAME.mp4``. Work that was stopped
    or killed resumes when the function is called with the same arguments; the output has the same bytes as without the
    interruption.

    Args:
        source: a video, or a folder of images.
        appearance: the appearance image, or several: each patch of a frame is matched with the patches of all of them.
        out: a video file (.mp4, .m4v, .mov, .mkv or .webm), or a folder for PNG files: an existing folder, or a name
            without a suffix.
        preset: preset with a warm start, such as ``instant`` or ``quick``, or a model folder.
        temporal: compute the frames between key frames from what the key frames have (correspondence, warm start, and
            what the steps changed), moved along the motion; False: compute each frame on its own.
        key_every: maximum number of frames from one key frame to the next, 1 to 120.
        appearance_mask: only the region of the appearance image where the mask is white is used; a list for several
            images, with None for images without a mask.
        appearance_weights: weight of each appearance image, from 1e-6 to 1e6; only ratios matter; None: all are equal.
        force: replace an existing output.
        progress: progress reporter.
        settings: see `vitsplice.settings_for`.

    Returns:
        The result, also if an earlier call with the same arguments has already finished the video; None if the progress
        reporter stopped the work.

    Raises:
        ImageError: if the video or an image cannot be read.
        OutputExists: without ``force``, if the output exists (or is created during the work) and is not the unchanged
            output of a call with the same arguments; or if the folder of the records holds records of another output
            or of a call with other arguments, or files with names of records but no plan.
        OutputBusy: if another process is writing to the folder of the records.
        CheckpointRejected: if the checkpoint of unfinished work is damaged; the message says what to remove.
        VitspliceError: if an argument, a setting or a backbone cannot be used, or a file cannot be written.
    """
    if not hasattr(key_every, "__index__") or not 1 <= key_every <= MAX_KEY_EVERY:
        raise UserError(f"key_every={key_every} is not allowed; it must be an integer from 1 to {MAX_KEY_EVERY}")
    video, path, loader = open_source(source), Path(out), BackboneLoader()
    target = output_with_name(path)
    folder = target.with_name(f"{target.name if os.path.isdir(path) else target.stem}-video")
    check_name(folder)
    encoder = _encoder(destination_for(path, video.info))
    appearances = Appearances.read(appearance, appearance_mask, appearance_weights)
    check_paths(path, folder, source, [*video.files, *as_sequence(appearance), *as_sequence(appearance_mask)])
    transfer = load_transfer(appearances, settings_for(preset, **settings), loader)
    info = _output_info(video.info, transfer.settings.size, even=encoder is not None)
    destination = destination_for(path, info)
    inputs = {
        "video": video.digest(),
        **appearances.digests(),
        "settings": settings_digest(transfer.settings),
        **backbone_digests(transfer.backbones),
    }
    plan = {
        "format": FORMAT,
        "output": target.name,
        "encoder": encoder,
        "temporal": temporal,
        "key_every": int(key_every),
        "inputs": inputs,
    }
    earlier_plan = read_json_object(folder / WORK.plan_file)
    if not force:
        _check_records(folder, earlier_plan, target)
    same_plan = earlier_plan == plan
    if same_plan and not force and (record := _finished(folder, path, destination)):
        progress.note(f"{printable(str(path))} is finished already{_lacking(record, folder, transfer.settings)}")
        with suppress(OSError, UserError), FolderLock(folder):
            remove_parts(folder)
        return VideoResult(path, folder, record)
    may_replace = same_plan and os.path.isfile(folder / MAY_REPLACE) and not os.path.isfile(folder / RECORD)
    if not may_replace:
        check_free(path, force=force)
    is_same_folder = encoder is None and earlier_plan.get("output") == target.name
    replaced_frames = earlier_frames(folder) if is_same_folder else 0
    try:
        with resumable(folder, WORK, plan, force=force):
            if encoder is None or os.path.lexists(path):
                write(folder, {MAY_REPLACE: str(replaced_frames).encode() if replaced_frames else b""})
            for name in (RECORD, REPORT):
                (folder / name).unlink(missing_ok=True)
            size = info.height, info.width
            work = Conversion(video, appearances, transfer, destination, folder, plan, progress, size)
            work.resume()
            work.run()
            record = work.finish(path, loader, force=force)
    except Stopped:
        return None
    return VideoResult(path, folder, record)


def _check_records(folder: Path, earlier_plan: Mapping[str, Any], target: Path) -> None:
    """Raise OutputExists if a folder of records belongs to another output, such as ``a.webm`` instead of ``a.mp4``."""
    if (other := earlier_plan.get("output", target.name)) != target.name:
        raise OutputExists(
            f"{printable(str(folder))} holds the records of {printable(str(other))}; choose a name other than "
            f"'{folder.name.removesuffix('-video')}', or replace them with ",
            REPLACE,
        )


def _encoder(destination: Destination) -> str | None:
    """Return the name of the encoder of a video file; None for a folder of images."""
    return destination.encoding.codec if isinstance(destination, FileDestination) else None


def _output_info(info: VideoInfo, size: int | None, *, even: bool) -> VideoInfo:
    """Return ``info`` with width and height of the output, whose shorter side is ``size``; None: as the input.

    With ``even``, odd sides of a resized output become one pixel longer: some players play no videos with odd sides.
    """
    if not size:
        return info
    height, width = resize_to(torch.zeros(1, 3, info.height, info.width), size).shape[-2:]
    if even:
        height, width = height + height % 2, width + width % 2
    return replace(info, height=height, width=width)


def _lacking(record: Mapping[str, Any], folder: Path, settings: RunConfig) -> str:
    """Return the end of a note on finished work: which metrics or report of these settings it lacks; "" if none."""
    lacks_metrics = settings.metrics != "none" and not record.get("metrics")
    lacks_report = settings.plots != "none" and not os.path.isfile(folder / REPORT)
    missing = " and ".join(name for name, lacks in (("metrics", lacks_metrics), ("report", lacks_report)) if lacks)
    return f", without {missing}; computing it again with force adds what is missing" if missing else ""


def _finished(folder: Path, path: Path, destination: Destination) -> dict[str, Any]:
    """Return the record of finished work; {} if there is none, or if the output was changed or removed.

    A video file was changed if its bytes differ. A folder was changed if the file of a frame is missing or empty.
    """
    record = read_json_object(folder / RECORD)
    if os.path.isfile(path):
        with reading(path):
            return record if record.get("output_sha256") == file_sha256(path) else {}
    frames = record.get("frames", 0)
    return record if frames and os.path.isdir(path) and destination.holds(folder, (), frames) else {}
