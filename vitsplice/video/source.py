"""Reading of videos: frames one after another, upright, in RGB, with their times."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vitsplice.errors import ImageError
from vitsplice.images import read
from vitsplice.images.checks import check_size
from vitsplice.support.files import absolute, file_sha256, reading
from vitsplice.support.image_files import images_at
from vitsplice.text import one_line, printable
from vitsplice.video.colours import RGB, ColourSpace, Pixels, as_pixels, as_tensor, to_rgb
from vitsplice.video.packages import pyav

FOLDER_RATE = Fraction(25)
"""Frames per second of a folder of images."""

LOCAL_FILES = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf,nut,mxf,gif,ivf,h264,hevc,m4v,mpegvideo",
}
"""Options of FFmpeg that allow only local files, in containers that hold their frames themselves.

Playlists, for example, would open other files and addresses."""

MIN_READ_FRACTION = 0.98
"""Fraction of the stated frames or duration of a file; if less can be read, a note says so."""

DELAYS = dict.fromkeys(("asf", "avi", "flv"), Fraction(3, 10))
"""Seconds by which the stated duration of a complete file may be longer than its streams, by name of the container."""

MICROSECONDS = 1_000_000
"""Units per second of the durations of files in FFmpeg."""

DURATIONS_FROM_0 = {"matroska,webm", "nut", "asf"}
"""Containers whose stated duration counts from time 0, not from the earliest start of a stream."""


@dataclass(frozen=True)
class Frame:
    """A frame.

    Args:
        index: number of the frame, from 0.
        pixels: RGB, ``(H, W, 3)`` uint8, upright.
        time: presentation time in units of the video's time base.
    """

    index: int
    pixels: Pixels = field(repr=False)
    time: int

    def tensor(self) -> Tensor:
        """Return the pixels as ``(1, 3, H, W)`` in [0, 1]."""
        return as_tensor(self.pixels)


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its frames are read.

    Args:
        width, height: size of upright frames in pixels.
        rate: mean number of frames per second.
        time_base: unit of times in seconds.
        start: time at which players begin, in units of ``time_base``: that of the first frame or of earlier audio.
        frames: number of packets of the video stream that players show, or of images in the folder; None: unknown.
        frames_stated: whether the file states the number of frames; if not, a packet may be a part of a frame.
        colours: colour space.
        pixel_aspect: width of a pixel divided by its height.
        audio: number of audio streams.
        notes: notes for the user, such as properties of the file that the output does not have.
    """

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    start: int = 0
    frames: int | None = None
    frames_stated: bool = True
    colours: ColourSpace = field(default_factory=ColourSpace)
    pixel_aspect: Fraction = Fraction(1)
    audio: int = 0
    notes: tuple[str, ...] = ()


class VideoSource(ABC):
    """A video that can be read any number of times.

    Args:
        path: file or folder.
    """

    info: VideoInfo
    files: tuple[Path, ...] = ()
    """The images of a folder; () for a video file."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, printable(str(path))

    @abstractmethod
    def digest(self) -> str:
        """Compute the SHA-256 of the video. Raises UserError if it cannot be read."""

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Read the frames in the order of their times. Raises ImageError if one cannot be decoded."""


def open_source(path: str | os.PathLike[str]) -> VideoSource:
    """Open a video file, or a folder of images in the order of their names.

    Raises:
        UserError: if PyAV is not installed, or a folder has no images.
        ImageError: if the path does not exist, is a device or is no video, its frames have no valid size, or the first
            image of the folder cannot be read.
    """
    path = Path(path)
    if os.path.isdir(path):
        return FrameFolder(path)
    if not os.path.isfile(path):
        problem = "is not a regular file" if os.path.exists(path) else "does not exist"
        raise ImageError(f"'{printable(str(path))}' {problem}; give a video file or a folder of images")
    return VideoFile(path)


class FrameFolder(VideoSource):
    """A folder of images of equal size, which are the frames of a video with `FOLDER_RATE`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.files = images_at(path)
        first = read(self.files[0])
        height, width = first.pixels.shape[-2:]
        notes = tuple(f"{first.name}: {note}" for note in first.notes)
        self.info = VideoInfo(width, height, FOLDER_RATE, 1 / FOLDER_RATE, frames=len(self.files), notes=notes)

    def digest(self) -> str:
        """Compute the SHA-256 of the names and contents of all images."""
        digest = hashlib.sha256()
        for file in self.files:
            with reading(file):
                digest.update(os.fsencode(file.name) + f"\0{file_sha256(file)}\n".encode())
        return digest.hexdigest()

    def frames(self) -> Iterator[Frame]:
        """Read the images. Raises ImageError if one is damaged or of another size."""
        for index, file in enumerate(self.files):
            pixels = as_pixels(read(file).pixels)
            _check_frame(f"frame {printable(str(file))}", pixels, self.info)
            yield Frame(index, pixels, index)


class VideoFile(VideoSource):
    """The first video stream of a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._opened() as container:
            if not container.streams.video:
                raise ImageError(f"'{self.name}' has no video stream; give a video file or a folder of images")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise ImageError(f"'{self.name}' has a video codec that the installed PyAV cannot decode; convert it")
            first = next(self._decoded(container), None)
            if first is None:
                raise ImageError(f"'{self.name}' has no frames; give a video file or a folder of images")
            self.info = self._described(container, stream, first)
        self.info = self._with_packet_count()

    def _described(self, container: Any, stream: Any, first: Any) -> VideoInfo:
        colours = ColourSpace.of(first)
        height, width = _upright(to_rgb(first, colours), first).shape[:2]
        check_size(self.name, width, height)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        rate = Fraction(stream.average_rate or stream.guessed_rate or FOLDER_RATE)
        time_base = Fraction(stream.time_base or 1 / rate)
        return VideoInfo(
            width=width,
            height=height,
            rate=rate,
            time_base=time_base,
            start=min(first.pts or 0, _start(container, time_base)),
            frames_stated=bool(stream.frames),
            colours=colours,
            pixel_aspect=1 / aspect if _is_quarter_turn(_display_matrix(first)) else aspect,
            audio=len(container.streams.audio),
            notes=tuple(_notes(container, first)),
        )

    def _with_packet_count(self) -> VideoInfo:
        """Return ``info`` with the number of packets that players show, and a note if the file is truncated."""
        frames = 0
        with self._opened() as container, suppress(pyav().FFmpegError):  # a damaged packet is reported when decoded
            start = end = Fraction(container.start_time or 0, MICROSECONDS)
            duration = Fraction(container.duration or 0, MICROSECONDS)
            duration -= DELAYS.get(container.format.name, 0)
            if container.format.name in DURATIONS_FROM_0 and start > 0:
                duration -= start
            index = container.streams.video[0].index
            for packet in _complete_packets(container.demux()):
                frames += packet.size > 0 and packet.stream_index == index and not packet.is_discard
                if packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
        length = end - start
        is_truncated = length + 1 / self.info.rate < MIN_READ_FRACTION * duration
        note = f"the file states a duration of {float(duration):.1f} s, of which {float(length):.1f} s could be read"
        notes = (*self.info.notes, *([note] if is_truncated else []))
        return replace(self.info, frames=frames or None, notes=notes)

    def digest(self) -> str:
        """Compute the SHA-256 of the file."""
        with reading(self.path):
            return file_sha256(self.path)

    def frames(self) -> Iterator[Frame]:
        """Decode the frames. The times are made to increase.

        A missing time becomes that of the previous frame plus 1 / rate, or 0 for the first frame. A time that is not
        later than that of the previous frame becomes that of the previous frame plus 1 unit of the time base.
        """
        step = max(1, round(1 / self.info.rate / self.info.time_base))
        last: int | None = None
        with self._opened() as container:
            for index, frame in enumerate(self._decoded(container)):
                pixels = _upright(to_rgb(frame, self.info.colours), frame)
                _check_frame(f"frame {index} of '{self.name}'", pixels, self.info)
                time = frame.pts
                if time is None or (last is not None and time <= last):
                    time = 0 if last is None else last + (step if time is None else 1)
                last = time
                yield Frame(index, pixels, time)

    def _opened(self) -> Any:
        try:
            return open_container(self.path)
        except (pyav().FFmpegError, ValueError) as error:
            advice = "give a video file or a folder of images"
            raise ImageError(f"'{self.name}' is no video, or is damaged: {reason_of(error)}; {advice}") from error

    def _decoded(self, container: Any) -> Iterator[Any]:
        """Decode the frames of the first video stream."""
        number = 0
        try:
            for packet in _complete_packets(container.demux(container.streams.video[0])):
                for frame in packet.decode():
                    yield frame
                    number += 1
        except pyav().FFmpegError as error:
            after = f"after frame {number - 1}" if number else "at its first frame"
            raise ImageError(f"'{self.name}' is damaged {after}: {reason_of(error)}") from error


def _complete_packets(packets: Iterable[Any]) -> Iterator[Any]:
    """Yield packets, except for the last one of a stream if it is incomplete, as at the end of a truncated file.

    A decoder would conceal the missing data. The empty packet with which FFmpeg ends a stream does not count as last.
    """
    incomplete: dict[int, Any] = {}
    for packet in packets:
        if packet.size and packet.stream_index in incomplete:
            yield incomplete.pop(packet.stream_index)
        if packet.is_corrupt:
            incomplete[packet.stream_index] = packet
        else:
            yield packet


def _start(container: Any, time_base: Fraction) -> int:
    """Return when the earliest stream of a container begins, in units of ``time_base``; 0 if unknown or below 0."""
    return max(0, floor(Fraction(container.start_time or 0, MICROSECONDS) / time_base))


def _notes(container: Any, first: Any) -> Iterator[str]:
    if len(container.streams.video) > 1:
        yield f"the input has {len(container.streams.video)} video streams; the first is used"
    if container.streams.subtitles:
        yield "the subtitles of the input are left out"
    if any(part.bits > 8 for part in first.format.components):
        yield f"frames of {max(part.bits for part in first.format.components)} bits are converted to 8 bits"
    if _is_transparent(first) or container.streams.video[0].metadata.get("alpha_mode") == "1":  # WebM
        yield "the transparency of the input is left out"
    if first.colorspace not in (RGB, ColourSpace.of(first).matrix):
        yield f"the input has colour matrix {first.colorspace} of H.273, which is not supported; colours may be wrong"
    if first.color_trc in (16, 18):
        yield "the high dynamic range of the input is not mapped to standard dynamic range"
    if first.interlaced_frame:
        yield "the input is interlaced; its frames are not deinterlaced"


def _is_transparent(frame: Any) -> bool:
    """Return whether a decoded frame has pixels that are not opaque."""
    if not any(part.is_alpha for part in frame.format.components):
        return False
    return bool((frame.to_ndarray(format="rgba")[..., 3] < 255).any())


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """Return a, b, c and d of a decoded frame: players show its pixel (x, y) at (a x + c y, b x + d y)."""
    data = frame.side_data.get(pyav().sidedata.sidedata.Type.DISPLAYMATRIX)
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    return a, b, c, d


def _is_quarter_turn(matrix: tuple[int, int, int, int]) -> bool:
    """Return whether a display matrix exchanges rows and columns."""
    a, b, _, _ = matrix
    return abs(b) > abs(a)


def _upright(pixels: Pixels, frame: Any) -> Pixels:
    """Rotate by multiples of 90 degrees and mirror the pixels of a frame, as its display matrix states."""
    a, b, c, d = matrix = _display_matrix(frame)
    across, down = (c, b) if _is_quarter_turn(matrix) else (a, d)
    pixels = pixels.swapaxes(0, 1) if _is_quarter_turn(matrix) else pixels
    pixels = pixels[:, ::-1] if across < 0 else pixels
    return np.ascontiguousarray(pixels[::-1] if down < 0 else pixels)


def _check_frame(name: str, pixels: Pixels, info: VideoInfo) -> None:
    height, width = pixels.shape[:2]
    if (height, width) != (info.height, info.width):
        raise ImageError(
            f"{name} is {width}x{height} px (width x height), but the first one is {info.width}x{info.height} px; "
            "all frames must have one size"
        )


def open_container(path: Path) -> Any:
    """Open a video or audio file for reading by FFmpeg, restricted to `LOCAL_FILES`. Raises the errors of PyAV."""
    name = str(absolute(path))  # FFmpeg takes "12:30.mp4" for an address
    return pyav().open(name, options=LOCAL_FILES, metadata_errors="replace")


def reason_of(error: Exception) -> str:
    """Return the reason of an error of PyAV or of the operating system, on one line."""
    return one_line(getattr(error, "strerror", None) or str(error))
