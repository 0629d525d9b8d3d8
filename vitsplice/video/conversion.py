"""The conversion of one video: its segments one after another, then output, report and records."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from vitsplice.engine.backbones import BackboneLoader
from vitsplice.errors import VitspliceError
from vitsplice.images import contact_sheet, encode_png
from vitsplice.images.transforms import resized
from vitsplice.runs.record import versions
from vitsplice.support.checkpoints import remove_checkpoints
from vitsplice.support.files import file_sha256, json_bytes
from vitsplice.support.output_folder import write
from vitsplice.support.progress import ProgressReporter
from vitsplice.text import printable
from vitsplice.video.appearances import Appearances
from vitsplice.video.colours import Pixels, as_pixels, as_tensor
from vitsplice.video.destination import Destination, check_free
from vitsplice.video.excerpt import Excerpt
from vitsplice.video.measurement import frame_metrics, mean_errors, warping_errors
from vitsplice.video.outputs import frame_by_frame, propagated
from vitsplice.video.packages import opencv, pyav
from vitsplice.video.report import flicker_table, report
from vitsplice.video.segments import Segment, segments
from vitsplice.video.source import MIN_READ_FRACTION, Frame, VideoSource
from vitsplice.video.transfer import FrameTransfer
from vitsplice.video.work import (
    CHECKPOINT,
    CHECKPOINTS,
    FLICKER,
    MAY_REPLACE,
    PREVIEW,
    RECORD,
    REPORT,
    State,
    on_device,
    remove_parts,
)

PREVIEW_HEIGHT = 360
"""Maximum height of the images of the preview, in pixels."""


class Stopped(Exception):
    """The progress reporter stopped the work."""


class Conversion:
    """The work on one video, in the folder of its records.

    Args:
        video, appearances, transfer, destination: the input, the appearance images, the transfer and the output.
        folder: folder of the work and its records, which the caller has locked.
        plan: arguments of the work and digests of its inputs, stored in ``plan.json`` and ``video.json``.
        progress: progress reporter.
        size: height and width of the output.
    """

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
        self._state = State()
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
        state.next_key = on_device(state.next_key, self._transfer.device)
        self._state = state
        self._progress.note(f"resumes at frame {state.next}")

    def run(self) -> None:
        """Compute the segments that are not finished. Raises Stopped."""
        self._progress.note(f"preview of the latest frame: {printable(str(self._folder / PREVIEW))}")
        state, first_frame = self._state, self._state.next
        start_time = perf_counter() - state.seconds
        frames = (self._resized(frame) for frame in self._video.frames() if frame.index >= first_frame)
        for segment in segments(frames, self._plan["key_every"], after_cut=state.next_key is None):
            self._add(segment)
            state.seconds = perf_counter() - start_time
            state.write(self._folder, self._plan["inputs"])

    def _resized(self, frame: Frame) -> Frame:
        """Resize a frame to the size of the output."""
        if frame.pixels.shape[:2] == self._size:
            return frame
        return replace(frame, pixels=as_pixels(resized(frame.tensor(), self._size)))

    def _add(self, segment: Segment) -> None:
        """Compute and write a segment, and update the state."""
        state = self._state
        compute = propagated if self._plan["temporal"] else frame_by_frame
        computed = compute(self._transfer, segment, state.next_key, self._report)
        size = self._destination.add(self._folder, len(state.sizes), segment.frames, computed.outputs)
        self._excerpt.add(segment.frames, computed.outputs)
        write(self._folder, {PREVIEW: _preview(segment, computed.outputs[-1])})
        following = [] if computed.following is None else [as_pixels(computed.following.output)]
        state.errors += warping_errors(segment, [*computed.outputs, *following])
        state.cuts += [segment.start] if segment.after_cut and segment.start else []
        state.next, state.sizes, state.next_key = segment.end, [*state.sizes, size], computed.following

    def _report(self, index: int) -> None:
        """Before each frame: report ``index``, the number of the first frame without an output. Raises Stopped."""
        if self._progress.stopped():
            raise Stopped
        self._progress.part(f"frame {index}", index, max(index + 1, self._video.info.frames or 0))

    def finish(self, path: Path, loader: BackboneLoader, *, force: bool) -> dict[str, Any]:
        """Write output, report and records, and return the content of ``video.json``.

        What only unfinished work needs is removed.
        """
        notes = self._destination.join(self._folder, len(self._state.sizes), self._video)
        self._complete_output(path, force=force)
        record: dict[str, Any] = json.loads(json.dumps(self._record(path, notes, loader)))
        page = {REPORT: self._page(record).encode()} if self._transfer.settings.plots == "all" else {}
        write(self._folder, {FLICKER: flicker_table(self._state.errors).encode(), **page, RECORD: json_bytes(record)})
        with suppress(OSError):
            remove_parts(self._folder)
        return record

    def _complete_output(self, path: Path, *, force: bool) -> None:
        """Complete the output. Without ``force``, raises OutputExists if there is one that the work may not replace."""
        if not os.path.isfile(self._folder / MAY_REPLACE):
            check_free(path, force=force)
            write(self._folder, {MAY_REPLACE: b""})  # if killed after the replacement, the resumed work may replace it
        try:
            self._destination.replace(self._folder, self._state.next)
        except VitspliceError:
            if not os.path.lexists(path):
                (self._folder / MAY_REPLACE).unlink(missing_ok=True)
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
        is_truncated = info.frames and info.frames_stated and state.next < MIN_READ_FRACTION * info.frames
        truncation = [f"the file has {info.frames} frames, of which {state.next} could be read"] if is_truncated else []
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
            "notes": [*info.notes, *notes, *truncation],
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
