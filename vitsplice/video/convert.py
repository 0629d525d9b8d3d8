"""Transfer of an appearance to a video, from file to file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from numbers import Integral
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from vitsplice.config import RunConfig
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.errors import OutputExists, UserError, VitspliceError
from vitsplice.images import Source, contact_sheet, encode_png, resize_to
from vitsplice.images.transforms import resized
from vitsplice.presets.settings import settings_for
from vitsplice.runs.checkpoints import backbone_digests, settings_digest
from vitsplice.runs.inputs import as_sequence
from vitsplice.runs.record import versions
from vitsplice.support.checkpoints import remove_checkpoints
from vitsplice.support.files import absolute, file_sha256, json_bytes, read_json_object, reading
from vitsplice.support.output_folder import REPLACE, FolderLock, check_name, resumable, write
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.text import printable
from vitsplice.video.appearances import Appearances
from vitsplice.video.colours import Pixels, as_pixels, as_tensor
from vitsplice.video.destination import Destination, FileDestination, check_free, destination_for
from vitsplice.video.excerpt import Excerpt
from vitsplice.video.measurement import frame_metrics, mean_errors, warping_errors
from vitsplice.video.outputs import frame_by_frame, propagated
from vitsplice.video.packages import opencv, pyav
from vitsplice.video.report import flicker_table, report
from vitsplice.video.segments import Segment, segments
from vitsplice.video.source import FEWER, Frame, VideoInfo, VideoSource, open_source
from vitsplice.video.transfer import FrameTransfer, load_transfer
from vitsplice.video.work import (
    CHECKPOINT,
    CHECKPOINTS,
    FLICKER,
    PREVIEW,
    RECORD,
    REPLACES,
    REPORT,
    WORK,
    State,
    earlier_frames,
    on_device,
    remove_parts,
)

KEY_EVERY = 12
"""Default maximum number of frames from one key frame to the next."""

MAX_KEY_EVERY = 120
"""Maximum of ``key_every``: all frames of a segment are in memory."""

FORMAT = 3
"""Version of the format of the plan and of ``video.json``; work in another format is not resumed."""

PREVIEW_HEIGHT = 360
"""Maximum height of the images of the preview, in pixels."""


class Stopped(Exception):
    """The progress reporter stopped the work."""


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
        OutputExists: if ``force`` is not given, and (a) the output exists (or appears during the work) and was not
            written by a call with the same arguments, or has changed since, or (b) the folder of the records holds the
            records of another output or of a call with other arguments, or has no plan but files with names of records.
        OutputBusy: if another process is writing to the folder of the records.
        CheckpointRejected: if the checkpoint of unfinished work is damaged; the message says what to remove.
        VitspliceError: if an argument, a setting or a backbone cannot be used, or a file cannot be written.
    """
    if not isinstance(key_every, Integral) or not 1 <= key_every <= MAX_KEY_EVERY:
        raise UserError(f"key_every={key_every} is not allowed; it must be an integer from 1 to {MAX_KEY_EVERY}")
    video, path, loader = open_source(source), Path(out), BackboneLoader()
    target = _target(path)
    folder = target.with_name(f"{target.name if os.path.isdir(path) else target.stem}-video")
    check_name(folder)
    for used in (path, folder):
        if os.path.exists(used) and os.path.samefile(used, source):
            raise UserError(f"{printable(str(used))} is the input; choose another output")
    encoder = _encoder(destination_for(path, video.info))
    appearances = Appearances.read(appearance, appearance_mask, appearance_weights)
    files = (*video.files, *as_sequence(appearance), *as_sequence(appearance_mask))
    _check_outside(path, files)
    _check_outside(folder, (source, *files), deep=True)
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
    earlier = read_json_object(folder / WORK.plan_file)
    if not force:
        _check_records(folder, earlier, target)
    same_plan = earlier == plan
    if same_plan and not force and (record := _finished(folder, path, destination)):
        progress.note(f"{printable(str(path))} is finished already{_omitted(record, folder, transfer.settings)}")
        with suppress(OSError, UserError), FolderLock(folder):
            remove_parts(folder)
        return VideoResult(path, folder, record)
    if not same_plan or os.path.isfile(folder / RECORD) or not os.path.isfile(folder / REPLACES):
        check_free(path, force=force)
    replaced = earlier_frames(folder) if encoder is None and earlier.get("output") == target.name else 0
    try:
        with resumable(folder, WORK, plan, force=force):
            if encoder is None or os.path.lexists(path):
                write(folder, {REPLACES: str(replaced).encode() if replaced else b""})
            for name in (RECORD, REPORT):
                (folder / name).unlink(missing_ok=True)
            work = _Work(video, appearances, transfer, destination, folder, plan, progress, (info.height, info.width))
            work.resume()
            work.run()
            record = work.finish(path, loader, force=force)
    except Stopped:
        return None
    return VideoResult(path, folder, record)


def _target(path: Path) -> Path:
    """Return the output as a path with a name, also for ``.`` or ``..``. Raises UserError if that is not possible."""
    check_name(path)
    target = path if path.name not in ("", "..") else absolute(path)
    if not target.name:
        raise UserError(f"{printable(str(path))} cannot be the output; give a video file such as out.mp4, or a folder")
    return target


def _check_outside(folder: Path, inputs: Iterable[object], *, deep: bool = False) -> None:
    """Raise UserError if an input that is a path is in a folder, also by a link; with ``deep`` also in its folders."""
    real = Path(os.path.realpath(folder))
    for file in inputs:
        paths = _real_paths(file) if isinstance(file, str | os.PathLike) else ()
        if any(real in (path.parents if deep else [path.parent]) for path in paths):
            shown = printable(str(folder)), printable(str(file))
            raise UserError(f"{shown[0]} contains the input {shown[1]}; choose another output")


def _real_paths(file: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Return the path of a file twice: with only the links in its folder resolved, and with all links resolved."""
    return Path(os.path.realpath(Path(file).parent), Path(file).name), Path(os.path.realpath(file))


def _check_records(folder: Path, earlier: Mapping[str, Any], target: Path) -> None:
    """Raise OutputExists if a folder of records belongs to another output, such as ``a.webm`` instead of ``a.mp4``."""
    if (other := earlier.get("output", target.name)) != target.name:
        raise OutputExists(
            f"{printable(str(folder))} holds the records of {printable(str(other))}; choose a name other than "
            f"'{folder.name.removesuffix('-video')}', or replace them with ",
            REPLACE,
        )


def _encoder(destination: Destination) -> str | None:
    """Return the name of the encoder of a video file; None for a folder of images."""
    return destination.encoding.codec if isinstance(destination, FileDestination) else None


def _output_info(info: VideoInfo, size: int | None, *, even: bool) -> VideoInfo:
    """Return ``info`` with width and height of the output, whose shorter side is ``size``.

    Without a size, ``info`` is unchanged, also if a side is odd.

    With ``even``, odd sides of resized frames become one pixel longer: some players do not play videos of odd sides.
    """
    if not size:
        return info
    height, width = resize_to(torch.zeros(1, 3, info.height, info.width), size).shape[-2:]
    if even:
        height, width = height + height % 2, width + width % 2
    return replace(info, height=height, width=width)


class _Work:
    """The work on one video, segment after segment. ``size`` is height and width of the output."""

    def __init__(
        self,
        video: VideoSource,
        appearances: Appearances,
        transfer: FrameTransfer,
        destination: Destination,
        folder: Path,
        plan: dict[str, Any],
        progress: ProgressReporter,
        size: tuple[int, int],
    ) -> None:
        self._video, self._transfer, self._destination, self._folder = video, transfer, destination, folder
        self._appearances, self._plan, self._progress, self._size = appearances, plan, progress, size
        self._state = State(belongs_to=plan["inputs"])
        self._excerpt = Excerpt(folder, video.info.frames or 0)

    def resume(self) -> None:
        """Resume from the last checkpoint, if there is one. Raises CheckpointRejected."""
        CHECKPOINT.resume(self._folder / CHECKPOINTS, None, self._plan["inputs"], self._restore)

    def _restore(self, state: State) -> None:
        if not self._destination.holds(self._folder, state.sizes, state.next) or not self._excerpt.holds(state.next):
            self._progress.note("finished frames are missing or damaged; starting again")
            with suppress(OSError):
                remove_checkpoints(self._folder / CHECKPOINTS)
            return
        state.key = on_device(state.key, self._transfer.device)
        self._state = state
        self._progress.note(f"resumes at frame {state.next}")

    def run(self) -> None:
        """Compute the segments that are not finished. Raises Stopped."""
        self._progress.note(f"preview of the latest frame: {printable(str(self._folder / PREVIEW))}")
        state, began, start = self._state, perf_counter() - self._state.seconds, self._state.next
        frames = (self._resized(frame) for frame in self._video.frames() if frame.index >= start)
        for segment in segments(frames, self._plan["key_every"], after_cut=state.key is None):
            self._add(segment)
            state.seconds = perf_counter() - began
            state.write(self._folder)

    def _resized(self, frame: Frame) -> Frame:
        """Resize a frame to the size of the output."""
        if frame.pixels.shape[:2] == self._size:
            return frame
        return replace(frame, pixels=as_pixels(resized(frame.tensor(), self._size)))

    def _add(self, segment: Segment) -> None:
        """Compute and write a segment, and update the state."""
        state = self._state
        compute = propagated if self._plan["temporal"] else frame_by_frame
        computed = compute(self._transfer, segment, state.key, self._report)
        size = self._destination.add(self._folder, len(state.sizes), segment.frames, computed.outputs)
        self._excerpt.add(segment.frames, computed.outputs)
        write(self._folder, {PREVIEW: _preview(segment, computed.outputs[-1])})
        following = [] if computed.following is None else [as_pixels(computed.following.output)]
        state.errors += warping_errors(segment, [*computed.outputs, *following])
        state.cuts += [segment.start] if segment.after_cut and segment.start else []
        state.next, state.sizes, state.key = segment.end, [*state.sizes, size], computed.following

    def _report(self, index: int) -> None:
        """Report the number of the first frame that is not computed yet, before a frame is computed. Raises Stopped."""
        if self._progress.stopped():
            raise Stopped
        self._progress.part(f"frame {index}", index, max(index + 1, self._video.info.frames or 0))

    def finish(self, path: Path, loader: BackboneLoader, *, force: bool) -> dict[str, Any]:
        """Write output, report and records, remove the parts, and return the content of ``video.json``."""
        notes = self._destination.join(self._folder, len(self._state.sizes), self._video)
        self._replace(path, force=force)
        record: dict[str, Any] = json.loads(json.dumps(self._record(path, notes, loader)))
        page = {REPORT: self._page(record).encode()} if self._transfer.settings.plots == "all" else {}
        write(self._folder, {FLICKER: flicker_table(self._state.errors).encode(), **page, RECORD: json_bytes(record)})
        with suppress(OSError):
            remove_parts(self._folder)
        return record

    def _replace(self, path: Path, *, force: bool) -> None:
        """Replace the output. Raises OutputExists if it came into being during the work, unless ``force`` is given."""
        if not os.path.isfile(self._folder / REPLACES):
            check_free(path, force=force)
            write(self._folder, {REPLACES: b""})
        try:
            self._destination.replace(self._folder, self._state.next, earlier_frames(self._folder))
        except VitspliceError:
            if not os.path.lexists(path):
                (self._folder / REPLACES).unlink(missing_ok=True)
            raise

    def _page(self, record: dict[str, Any]) -> str:
        names = [image.name for image in self._appearances.images.values()]
        return report(record, self._video.name, names, self._state.errors, self._excerpt.film())

    def _metrics(self, loader: BackboneLoader) -> dict[str, dict[str, Any]]:
        if self._transfer.settings.metrics == "none":
            return {}
        return frame_metrics(self._excerpt.samples(), self._appearances, self._transfer.backbone.info.name, loader)

    def _record(self, path: Path, notes: list[str], loader: BackboneLoader) -> dict[str, Any]:
        state, info, transfer = self._state, self._video.info, self._transfer
        fewer = info.frames and info.states_frames and state.next < FEWER * info.frames
        missing = [f"the file has {info.frames} frames, of which {state.next} could be read"] if fewer else []
        return {
            **self._plan,
            "output_sha256": file_sha256(path) if os.path.isfile(path) else None,
            "frames": state.next,
            "cuts": state.cuts,
            "rate": str(info.rate),
            "seconds": round(state.seconds, 3),
            "seconds_per_frame": round(state.seconds / state.next, 4),
            "warping_error": mean_errors(state.errors),
            "metrics": self._metrics(loader),
            "notes": [*info.notes, *notes, *missing],
            "settings": transfer.settings.model_dump(mode="json"),
            "backbones": {name: asdict(backbone.info) for name, backbone in transfer.backbones.items()},
            "substitutions": [asdict(substitution) for substitution in transfer.substitutions.values()],
            "versions": versions() | {"av": pyav().__version__, "opencv": opencv().__version__},
        }


def _preview(segment: Segment, output: Pixels) -> bytes:
    """Return the last frame of a segment beside its output, as PNG."""
    frame = segment.frames[-1]
    pair = [(f"input, frame {frame.index}", frame.tensor()[0]), ("output", as_tensor(output)[0])]
    return encode_png(contact_sheet([pair], height=min(PREVIEW_HEIGHT, len(output))))


def _omitted(record: Mapping[str, Any], folder: Path, settings: RunConfig) -> str:
    """Return the end of the note on finished work that lacks metrics or a report of these settings; "" if none."""
    has_metrics = settings.metrics == "none" or bool(record.get("metrics"))
    has_report = settings.plots == "none" or os.path.isfile(folder / REPORT)
    missing = " and ".join(name for name, has in (("metrics", has_metrics), ("report", has_report)) if not has)
    return f", without {missing}; computing it again with force adds what is missing" if missing else ""


def _finished(folder: Path, path: Path, destination: Destination) -> dict[str, Any]:
    """Return the record of finished work; {} if there is none, or the output has changed or does not exist.

    The output has changed if the bytes of a video file differ, or a file of a folder does not exist or is empty.
    """
    record = read_json_object(folder / RECORD)
    if os.path.isfile(path):
        with reading(path):
            return record if record.get("output_sha256") == file_sha256(path) else {}
    frames = record.get("frames", 0)
    return record if frames and os.path.isdir(path) and destination.holds(folder, (), frames) else {}
