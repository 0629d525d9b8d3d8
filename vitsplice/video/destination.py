"""Destinations of output frames: a video file, or a folder of PNG files."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitsplice.errors import OutputExists, UserError, VitspliceError
from vitsplice.images import encode_png
from vitsplice.support.files import atomic_replacement, inside, reading, temporary_files
from vitsplice.support.output_folder import REPLACE, check_file, write
from vitsplice.text import printable
from vitsplice.video.colours import Pixels, as_tensor
from vitsplice.video.encoding import Encoding, encoding_for, join_segments, write_segment
from vitsplice.video.source import Frame, VideoFile, VideoInfo, VideoSource
from vitsplice.video.work import JOINED, MAY_REPLACE, SEGMENTS, earlier_frames


class Destination(ABC):
    """Writes the outputs of segments, and completes the output at the end.

    ``work_folder`` is the folder of the work (`vitsplice.video.work`). The finished output is not in it.
    """

    @abstractmethod
    def add(self, work_folder: Path, number: int, frames: Sequence[Frame], outputs: Sequence[Pixels]) -> int:
        """Write a segment, and return its size in bytes. Raises VitspliceError if it cannot be written.

        Args:
            work_folder: folder of the work.
            number: number of the segment, from 0.
            frames: input frames; each output gets the index and time of its frame.
            outputs: 8-bit RGB of each output.
        """

    @abstractmethod
    def holds(self, work_folder: Path, sizes: Sequence[int], frames: int) -> bool:
        """Return whether the first segments are still complete.

        Args:
            work_folder: folder of the work.
            sizes: size of each segment, from `add`.
            frames: number of frames of these segments.
        """

    @abstractmethod
    def join(self, work_folder: Path, segments: int, source: VideoSource) -> list[str]:
        """Join the segments without changing an existing output, and return notes for the user.

        Args:
            work_folder: folder of the work.
            segments: number of segments.
            source: the input, whose audio a video file gets.
        """

    @abstractmethod
    def replace(self, work_folder: Path, frames: int) -> None:
        """Complete the output, which replaces an existing one. Raises VitspliceError if that is not possible.

        Args:
            work_folder: folder of the work, whose segments `join` has joined.
            frames: number of output frames.
        """


@dataclass(frozen=True)
class FileDestination(Destination):
    """A video file: each segment is encoded into a file of its own; these are joined at the end."""

    path: Path
    encoding: Encoding

    def add(self, work_folder: Path, number: int, frames: Sequence[Frame], outputs: Sequence[Pixels]) -> int:
        """Encode a segment into a file, and return its size in bytes."""
        write(work_folder / SEGMENTS, {})  # creates the folder
        timed = ((pixels, frame.time) for frame, pixels in zip(frames, outputs, strict=True))
        path = _segment(work_folder, number)
        write_segment(path, timed, self.encoding)
        return os.path.getsize(path)

    def holds(self, work_folder: Path, sizes: Sequence[int], frames: int) -> bool:
        """Return whether the files of the first segments have their sizes."""
        return all(_size(_segment(work_folder, number)) == size for number, size in enumerate(sizes))

    def join(self, work_folder: Path, segments: int, source: VideoSource) -> list[str]:
        """Join the segments, with the audio of the input, in the folder of the work."""
        audio = source.path if isinstance(source, VideoFile) and source.info.audio else None
        parts = [_segment(work_folder, number) for number in range(segments)]
        return join_segments(parts, self._joined(work_folder), self.encoding.info, audio)

    def replace(self, work_folder: Path, frames: int) -> None:
        """Move the joined video to the output."""
        try:
            with atomic_replacement(self.path) as temporary:
                shutil.move(self._joined(work_folder), temporary)  # the output may be a link to another file system
        except OSError as error:
            raise VitspliceError(f"cannot write {printable(str(self.path))}: {error.strerror or error}") from error

    def _joined(self, work_folder: Path) -> Path:
        return inside(work_folder, f"{SEGMENTS}/{JOINED}{self.path.suffix.lower()}")


@dataclass(frozen=True)
class FolderDestination(Destination):
    """A folder of PNG files, which are numbered like the frames."""

    path: Path

    def add(self, work_folder: Path, number: int, frames: Sequence[Frame], outputs: Sequence[Pixels]) -> int:
        """Write a PNG file for each frame, and return their size in bytes.

        The number of frames that the folder will have is recorded first, so that later work finds them all.
        """
        count = max(earlier_frames(work_folder), frames[-1].index + 1)
        write(work_folder, {MAY_REPLACE: str(count).encode()})
        pairs = zip(frames, outputs, strict=True)
        files = {_frame_name(frame.index): encode_png(as_tensor(pixels)) for frame, pixels in pairs}
        write(self.path, files)
        return sum(map(len, files.values()))

    def holds(self, work_folder: Path, sizes: Sequence[int], frames: int) -> bool:
        """Return whether the first frames have files, none of them empty, with the total size of ``sizes`` if given."""
        file_sizes = [_size(self.path / _frame_name(index)) for index in range(frames)]
        return all(file_sizes) and (not sizes or sum(file_sizes) == sum(sizes))

    def join(self, work_folder: Path, segments: int, source: VideoSource) -> list[str]:
        """Return a note if the input has audio; the frames are already in the output."""
        return ["a folder of images has no audio"] if source.info.audio else []

    def replace(self, work_folder: Path, frames: int) -> None:
        """Remove temporary files of a killed process, and frames of an earlier, longer output."""
        later = [self.path / _frame_name(index) for index in range(frames, earlier_frames(work_folder))]
        try:
            for path in (*temporary_files(self.path), *later):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise VitspliceError(f"cannot remove {error.filename}: {error.strerror or error}") from error


def destination_for(path: Path, info: VideoInfo) -> Destination:
    """Return the destination of a path: a folder if it is one or has no suffix, or else a video file.

    Raises:
        UserError: if the path is a file without a suffix, the suffix is unknown, there is no encoder for it, the folder
            of the file does not exist, the path is a device or a link into a missing folder, or PyAV is not installed.
    """
    if os.path.exists(path) and not os.path.isdir(path) and not path.suffix:
        raise UserError(f"{printable(str(path))} is a file; give a folder for frames, or a video file such as out.mp4")
    if os.path.isdir(path) or not path.suffix:
        return FolderDestination(path)
    if not os.path.isdir(path.parent):
        raise UserError(f"the folder {printable(str(path.parent))} does not exist; create it, or choose another")
    return FileDestination(check_file(path, "video, such as out.mp4", force=True), encoding_for(path, info))


def check_free(path: Path, *, force: bool) -> None:
    """Raise OutputExists if the output is an existing file or a folder that is not empty, unless ``force`` is given.

    Raises UserError if the folder cannot be read.
    """
    with reading(path):
        taken = bool(os.listdir(path)) if os.path.isdir(path) else os.path.lexists(path)
    if taken and not force:
        raise OutputExists(f"{printable(str(path))} already exists; choose another name, or replace it with ", REPLACE)


def _frame_name(index: int) -> str:
    return f"{index:06d}.png"


def _size(path: Path) -> int:
    """Return the size of a file in bytes; 0 if it does not exist."""
    return os.path.getsize(path) if os.path.isfile(path) else 0


def _segment(work_folder: Path, number: int) -> Path:
    return inside(work_folder, f"{SEGMENTS}/{number:05d}.nut")
