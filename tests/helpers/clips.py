"""Tiny videos, written by PyAV."""

from fractions import Fraction

import av
import numpy as np
from PIL import Image


def texture(height, width, seed=0):
    """Return a smooth random image of weak colours, ``(height, width, 3)`` uint8."""
    random = np.random.default_rng(seed)
    shape = (height // 8, width // 8)
    coarse = random.integers(40, 216, (*shape, 1)) + random.integers(-20, 21, (*shape, 3))
    image = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def panned(count, height=64, width=96, step=2, seed=0):
    """Return frames of a camera that moves right by ``step`` pixels a frame."""
    wide = texture(height, width + step * count, seed)
    return [np.ascontiguousarray(wide[:, step * n : step * n + width]) for n in range(count)]


def write_clip(
    path,
    frames,
    *,
    rate=10,
    times=None,
    audio=False,
    audio_seconds=None,
    audio_layout="stereo",
    rotation=0,
    colours=None,
    codec="libx264",
    crf="1",
    pix_fmt="yuv420p",
    form="rgb24",
    title="",
    options=None,
):
    """Write frames as a video.

    Args:
        times: time of each frame in 1/1000 s; None: constant rate.
        audio: codec of a tone that is added; True: AAC; False: no tone.
        audio_layout: layout of the channels of the tone.
        audio_seconds: duration of the tone; None: that of the frames.
        rotation: degrees counterclockwise by which players rotate the video.
        colours: codes of matrix, range, primaries and transfer in the stream.
        form: pixel format of ``frames``.
        title: title in the metadata.
        options: options of the container.
    """
    base = Fraction(1, 1000)
    with av.open(str(path), "w", options=options) as container:
        container.metadata.update({"title": title} if title else {})
        stream = container.add_stream(codec, rate=rate, options={"crf": crf} if codec == "libx264" else {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        context.time_base = base
        if rotation:
            stream.set_display_rotation(rotation)
        if colours:
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = colours
        audio_codec = "aac" if audio is True else audio
        sound = container.add_stream(audio_codec, rate=8000, layout=audio_layout) if audio else None
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format=form)
            if colours:
                frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range=colours[1])
            frame.pts = times[number] if times else round(1000 * number / rate)
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            write_tone(container, sound, audio_seconds or len(frames) / rate)
    return path


def remuxed(source, path, offset):
    """Copy the streams of a file into another one, with all times later by ``offset`` seconds."""
    with av.open(str(source)) as read, av.open(str(path), "w") as container:
        streams = [container.add_stream_from_template(stream) for stream in read.streams]
        for packet in read.demux():
            if packet.dts is not None:
                units = round(offset / packet.time_base)
                packet.pts, packet.dts, packet.stream = (
                    packet.pts + units,
                    packet.dts + units,
                    streams[packet.stream.index],
                )
                container.mux(packet)
    return path


def write_tone(container, stream, seconds):
    samples = np.sin(np.arange(int(8000 * seconds), dtype=np.float32) / 3)[None] / 4
    for begin in range(0, samples.shape[1] - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(samples[:, begin : begin + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, begin
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def read_clip(path):
    """Return the frames of a video as RGB, and their times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for frame in frames], [frame.time for frame in frames]


def audio_packets(path):
    """Return the bytes of the audio packets of a file."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio) if packet.size]
