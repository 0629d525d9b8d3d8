"""Writing of videos: segments, which are encoded one after another, and the file that joins them with the audio.

The first frame of a segment is decoded without other frames, and no frame refers to a later one. So segments can be
joined without encoding them again. The same frames give the same bytes with the same encoder.
"""

from __future__ import annotations

import heapq
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vitsplice.errors import UserError, VitspliceError
from vitsplice.support.files import atomic_replacement
from vitsplice.text import printable
from vitsplice.video.colours import Pixels, from_rgb
from vitsplice.video.packages import pyav
from vitsplice.video.source import VideoInfo, open_container, reason_of

THREADS = 4
"""Number of threads of an encoder: the same on every machine, because the encoded bytes may depend on it."""

MPEG4_ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "16", "preset": "medium", "bf": "0", "threads": str(THREADS)},
    "libopenh264": {},
    "mpeg4": {"flags": "+qscale"},
}
WEBM_ENCODERS: dict[str, dict[str, str]] = {
    "libvpx-vp9": {"crf": "20", "b": "0", "auto-alt-ref": "0", "lag-in-frames": "0", "cpu-used": "3"},
}
ENCODERS = dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv"), MPEG4_ENCODERS) | {".webm": WEBM_ENCODERS}
"""Encoders and their options by the suffix of the output file, the preferred one first."""

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Containers of output files by suffix."""

UNNAMED_LAYOUTS = {"1 channels": "mono", "2 channels": "stereo"}
"""PyAV's name of an audio layout of which only the number of channels is known -> the name that MP4 requires."""

YUV444_ENCODERS = "libx264", "libvpx-vp9"
"""Encoders that accept yuv444p, whose chroma planes have full size; the others accept only yuv420p."""

SEGMENT_FORMAT = "nut"
"""Container of segments: NUT stores every codec and every time base."""

MAX_DENOMINATOR = 65535
"""Maximum denominator of the time base in MPEG-4 Part 2, and of the frame rate with every encoder."""


@dataclass(frozen=True)
class Encoding:
    """How frames are encoded.

    Args:
        codec: name of the encoder.
        options: options of the encoder.
        info: size, times and colours of the frames.
    """

    codec: str
    options: dict[str, str]
    info: VideoInfo

    @property
    def pixel_format(self) -> str:
        """The pixel format: yuv444p if a side is odd and the encoder supports it, otherwise yuv420p."""
        is_odd = self.info.width % 2 or self.info.height % 2
        return "yuv444p" if is_odd and self.codec in YUV444_ENCODERS else "yuv420p"


def encoding_for(path: Path, info: VideoInfo) -> Encoding:
    """Choose the encoder for an output file by its suffix.

    Raises:
        UserError: if the suffix is unknown, or PyAV has no encoder for it.
    """
    suffix = path.suffix.lower()
    if suffix not in ENCODERS:
        raise UserError(
            f"{printable(str(path))} is not the name of a video; outputs are {', '.join(ENCODERS)}, or a folder of PNG "
            "files (a name without a suffix)"
        )
    available = pyav().codecs_available
    for codec, options in ENCODERS[suffix].items():
        if codec in available:
            return Encoding(codec, options, info)
    names = ", ".join(ENCODERS[suffix])
    raise UserError(f"the installed PyAV has no encoder for {suffix} files ({names}); use another suffix")


def write_segment(path: Path, frames: Iterable[tuple[Pixels, int]], encoding: Encoding) -> None:
    """Encode a segment atomically. Its times are relative to ``encoding.info.start``: NUT has no times below 0.

    Args:
        path: the file.
        frames: RGB ``(H, W, 3)`` of each frame, and its time.
        encoding: how the frames are encoded.

    Raises:
        VitspliceError: if the file cannot be written.
    """
    info = encoding.info
    with _muxed(path, SEGMENT_FORMAT) as container:
        stream = container.add_stream(encoding.codec, rate=info.rate.limit_denominator(MAX_DENOMINATOR))
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, encoding.pixel_format
        _set_context(stream.codec_context, encoding)
        for pixels, time in frames:
            frame = from_rgb(pixels, info.colours, encoding.pixel_format)
            frame.pts, frame.time_base = time - info.start, info.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _set_context(context: Any, encoding: Encoding) -> None:
    info = encoding.info
    too_fine = encoding.codec == "mpeg4" and info.time_base.denominator > MAX_DENOMINATOR
    context.time_base = Fraction(1, MAX_DENOMINATOR) if too_fine else info.time_base
    context.sample_aspect_ratio = info.pixel_aspect
    _set_colours(context, info)
    context.thread_count, context.options = THREADS, encoding.options
    context.flags |= pyav().codec.context.Flags.global_header


def _set_colours(context: Any, info: VideoInfo) -> None:
    context.color_range, context.colorspace = info.colours.range_number, info.colours.matrix
    context.color_primaries, context.color_trc = info.colours.primaries, info.colours.transfer


def join_segments(segments: Sequence[Path], out: Path, info: VideoInfo, audio: Path | None) -> list[str]:
    """Write the segments as one video, with the audio streams of another file, atomically.

    Args:
        segments: files of `write_segment`, in order.
        out: the video.
        info: frame rate, colours, pixel aspect, and start time, which becomes 0.
        audio: video whose audio is copied; None: no audio.

    Returns:
        Notes for the user.

    Raises:
        VitspliceError: if the video cannot be written, or a segment or the audio cannot be read.
    """
    notes: list[str] = []
    container_format = FORMATS[out.suffix.lower()]
    if container_format == "webm" and info.pixel_aspect != 1:
        notes.append(f"WebM output loses the pixel aspect {info.pixel_aspect}; use .mp4 or .mkv to keep it")
    options = {"movflags": "+faststart"} if container_format in ("mp4", "mov") else {}
    with _muxed(out, container_format, options=options) as container:
        with _opened(segments[0]) as first:
            stream = container.add_stream_from_template(first.streams.video[0])
        stream.codec_context.framerate = info.rate
        _set_colours(stream.codec_context, info)
        packets: list[Iterator[Any]] = [_packets(segments, stream)]
        if audio is not None:
            packets += _audio(audio, container, info.start * info.time_base, notes)
        for packet in heapq.merge(*packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return notes


def _packets(segments: Iterable[Path], stream: Any) -> Iterator[Any]:
    """Yield the packets of segments, assigned to a stream.

    FFmpeg provides no decoding timestamps (DTS) for a segment of exactly 7 H.264 frames. So each DTS is set to the
    presentation timestamp, which it equals because no frame refers to a later one.
    """
    for path in segments:
        with _opened(path) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.pts is not None:
                    packet.stream, packet.dts = stream, packet.pts
                    yield packet


def _audio(path: Path, container: Any, start: Fraction, notes: list[str]) -> list[Iterator[Any]]:
    """Add the audio streams of a file to a container, and return their packets.

    The time ``start`` in seconds becomes 0. ``notes`` gets a note for each stream that the container cannot hold.
    """
    with _opened(path) as source:
        copied = []
        for stream in source.streams.audio:
            if not stream.codec_context:
                notes.append("an audio stream is left out: its codec is unknown")
            elif not _fits(stream, container.format.name):
                codec = stream.codec_context.codec.canonical_name
                notes.append(
                    f"an audio stream is left out: {container.format.name} files cannot hold it (codec {codec})"
                )
            else:
                copied.append((stream.index, _add_audio(container, stream)))
    has_edit_lists = container.format.name not in ("matroska", "webm")
    return [_audio_packets(path, index, target, start, has_edit_lists) for index, target in copied]


def _add_audio(container: Any, stream: Any) -> Any:
    """Add an audio stream like ``stream``. One or two channels of an unnamed layout become mono or stereo."""
    added = container.add_stream_from_template(stream)
    layout = added.codec_context.layout.name
    if layout in UNNAMED_LAYOUTS:
        added.codec_context.layout = UNNAMED_LAYOUTS[layout]
    return added


def _fits(stream: Any, container_format: str) -> bool:
    """Return whether a container can hold a stream.

    One packet is written on trial: some codecs that FFmpeg lists for a container fail only then.
    """
    av = pyav()
    packet = next((packet for packet in stream.container.demux(stream) if packet.dts is not None), None)
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            added = _add_audio(trial, stream)
            trial.start_encoding()
            if packet is not None:
                packet.stream = added
                trial.mux(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True


def _audio_packets(path: Path, index: int, target: Any, start: Fraction, has_edit_lists: bool) -> Iterator[Any]:
    """Yield the packets of an audio stream, assigned to ``target``.

    Edit lists hide packets that must not be heard. For an output without edit lists, such packets are left out.
    """
    with _opened(path) as source:
        stream = source.streams[index]
        for packet in source.demux(stream):
            if packet.dts is not None:
                offset, pts = round(start / packet.time_base), packet.dts if packet.pts is None else packet.pts
                packet.pts, packet.dts, packet.stream = pts - offset, packet.dts - offset, target
                if has_edit_lists or _is_needed(packet, stream.codec_context.delay):
                    yield packet


def _is_needed(packet: Any, delay: int) -> bool:
    """Return whether an output without edit lists needs a packet.

    Packets marked as discarded, or before time 0, would be heard. But decoders of a codec with a delay, such as Opus,
    need the packets before time 0, and skip their samples themselves.
    """
    return not packet.is_discard and (packet.pts >= 0 or delay > 0)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a container for reading. Raises VitspliceError, which names the file, if it cannot be read."""
    try:
        with open_container(path) as container:
            yield container
    except (pyav().FFmpegError, OSError) as error:
        raise VitspliceError(f"cannot read {printable(str(path))}: {reason_of(error)}") from error


@contextmanager
def _muxed(path: Path, container_format: str, **options: Any) -> Iterator[Any]:
    """Open a container for writing to a temporary file, which replaces ``path`` at the end."""
    av = pyav()
    try:
        with atomic_replacement(path) as temporary:
            with av.open(str(temporary), "w", format=container_format, **options) as container:
                yield container
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
    except (av.FFmpegError, OSError) as error:
        raise VitspliceError(f"cannot write {printable(str(path))}: {reason_of(error)}") from error
