from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import audio_packets, panned, read_clip, remuxed, write_clip

from vitsplice.errors import UserError, VitspliceError
from vitsplice.video import encoding as module
from vitsplice.video.encoding import encoding_for, join_segments, write_segment
from vitsplice.video.source import VideoInfo, open_source


def encoded(tmp_path, source, name="out.mp4", audio=None, split=2):
    """Write the frames of a source in two segments, and join them."""
    encoding, frames = encoding_for(tmp_path / name, source.info), list(source.frames())
    paths = [tmp_path / "0.nut", tmp_path / "1.nut"]
    for path, part in zip(paths, (frames[:split], frames[split:]), strict=True):
        write_segment(path, ((frame.pixels, frame.time) for frame in part), encoding)
    return tmp_path / name, join_segments(paths, tmp_path / name, source.info, audio)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov", "out.webm"])
def test_joined_segments_have_the_frames_and_times_of_the_input(tmp_path, name):
    images, times = panned(5), [0, 100, 150, 400, 500]
    source = open_source(write_clip(tmp_path / "clip.mp4", images, times=times))
    path, notes = encoded(tmp_path, source, name)
    frames, seconds = read_clip(path)
    assert seconds == pytest.approx([time / 1000 for time in times], abs=1e-3)
    assert not notes
    assert all(np.abs(a.astype(int) - b).mean() < 6 for a, b in zip(frames, images, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm"])
def test_no_frame_is_lost_whatever_the_length_of_a_segment(tmp_path, name):
    images = panned(10)
    source = open_source(write_clip(tmp_path / "clip.mp4", images))
    for split in range(1, 10):
        path, _ = encoded(tmp_path, source, name, split=split)
        assert len(read_clip(path)[0]) == 10


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov", "out.webm"])
def test_joined_video_states_the_rate_and_the_colours_of_the_input(tmp_path, name):
    source = open_source(write_clip(tmp_path / "clip.mp4", panned(6), colours=(9, 1, 9, 14)))
    path, _ = encoded(tmp_path, source, name)
    info = open_source(path).info
    assert float(info.rate) == pytest.approx(10, rel=0.01)
    assert info.colours == source.info.colours


def test_joined_videos_of_the_same_frames_have_the_same_bytes(tmp_path):
    source = open_source(write_clip(tmp_path / "clip.mp4", panned(4)))
    first = encoded(tmp_path, source)[0].read_bytes()
    assert encoded(tmp_path, source)[0].read_bytes() == first


def test_audio_is_copied(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", panned(8), audio=True)
    out, notes = encoded(tmp_path, open_source(path), audio=path)
    assert audio_packets(out) == audio_packets(path)
    assert not notes


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_output_of_an_input_with_times_below_0_begins_at_0_with_its_audio(tmp_path, name):
    clip = write_clip(tmp_path / "clip.mp4", panned(5), audio=True)
    wrapped = remuxed(clip, tmp_path / "wrapped.ts", Fraction(2**33, 90000) - 1)
    path, _ = encoded(tmp_path, open_source(wrapped), name, audio=wrapped)
    assert read_clip(path)[1] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-3)
    with av.open(str(path)) as container:
        assert 0 <= container.streams.audio[0].start_time * container.streams.audio[0].time_base < 0.01


@pytest.mark.parametrize("name", ["later.ts", "later.mkv"])
def test_an_output_begins_where_the_earliest_stream_begins(tmp_path, name):
    clip = write_clip(tmp_path / "clip.mp4", panned(5), audio=True)
    later = remuxed(clip, tmp_path / name, 1000)
    path, _ = encoded(tmp_path, open_source(later), audio=later)
    with av.open(str(later)) as before, av.open(str(path)) as after:
        delays = [_first_time(file, "video") - _first_time(file, "audio") for file in (before, after)]
        assert delays[1] == pytest.approx(delays[0], abs=2e-3)
        assert 0 <= min(_first_time(after, "video"), _first_time(after, "audio")) < 0.01


def _first_time(container, kind):
    stream = getattr(container.streams, kind)[0]
    return float(stream.start_time * stream.time_base)


def test_audio_that_an_edit_list_hides_is_left_out_of_matroska(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", panned(20), audio=True, codec="mpeg4")
    trimmed = remuxed(clip, tmp_path / "trimmed.mp4", -1)
    path, _ = encoded(tmp_path, open_source(trimmed), "out.mkv", audio=trimmed)
    assert len(audio_packets(path)) == 7  # of 1024 samples, in the last second at 8 kHz
    assert read_clip(path)[1][0] == 0


def test_audio_that_decoders_skip_themselves_is_copied(tmp_path):
    clip = write_clip(tmp_path / "clip.webm", panned(3), audio="libopus", codec="libvpx-vp9")
    path, _ = encoded(tmp_path, open_source(clip), "out.webm", audio=clip)
    assert audio_packets(path) == audio_packets(clip)


def test_audio_of_a_file_whose_title_is_not_utf8_is_copied(tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", panned(3), audio=True, title="TITLE")
    expected = audio_packets(clip)
    assert b"TITLE" in clip.read_bytes()
    clip.write_bytes(clip.read_bytes().replace(b"TITLE", b"TITL\xe9"))
    path, _ = encoded(tmp_path, open_source(clip), audio=clip)
    assert audio_packets(path) == expected


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi"])
def test_audio_that_states_only_its_number_of_channels_is_copied(tmp_path, name):
    path = write_clip(tmp_path / name, panned(8), audio="pcm_s16le", codec="mpeg4")
    with av.open(str(path)) as container:
        assert container.streams.audio[0].layout.name == "2 channels"
    out, notes = encoded(tmp_path, open_source(path), audio=path)
    assert b"".join(audio_packets(out)) == b"".join(audio_packets(path))
    assert not notes


def test_audio_that_fails_only_with_its_first_packet_is_noted(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", panned(8), audio="pcm_s16le", audio_layout="5.1", codec="mpeg4")
    out, notes = encoded(tmp_path, open_source(path), audio=path)
    assert notes == ["an audio stream is left out: mp4 files cannot hold it (codec pcm_s16le)"]
    assert len(read_clip(out)[0]) == 8


AUDIO_ENCODERS = {"opus": "libopus", "mp3": "libmp3lame"}


@pytest.mark.parametrize(
    ("codec", "name"), [("aac", "out.webm"), ("opus", "out.mov"), ("flac", "out.mov"), ("mp3", "out.mp4")]
)
def test_audio_that_the_container_does_not_hold_is_noted(tmp_path, codec, name):
    path = write_clip(tmp_path / "clip.mkv", panned(8), audio=AUDIO_ENCODERS.get(codec, codec))
    out, notes = encoded(tmp_path, open_source(path), name, audio=path)
    assert notes == [f"an audio stream is left out: {name[4:]} files cannot hold it (codec {codec})"]
    assert len(read_clip(out)[0]) == 8


def test_audio_of_an_unknown_codec_is_noted(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", panned(8), audio=True)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    out, notes = encoded(tmp_path, open_source(path), audio=path)
    assert notes == ["an audio stream is left out: its codec is unknown"]
    assert len(read_clip(out)[0]) == 8


def test_file_names_may_have_colons(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_clip(tmp_path / "12:30.mp4", panned(4), audio=True)
    info = open_source("12:30.mp4").info
    encoding, frames = encoding_for(Path("12:31.mp4"), info), panned(4)
    write_segment(Path("12:31.nut"), ((pixels, 100 * n) for n, pixels in enumerate(frames)), encoding)
    assert join_segments([Path("12:31.nut")], Path("12:31.mp4"), info, Path("12:30.mp4")) == []
    assert audio_packets(tmp_path / "12:31.mp4") == audio_packets(path)


def test_a_segment_or_audio_that_cannot_be_read_is_named(tmp_path):
    source = open_source(write_clip(tmp_path / "clip.mp4", panned(4)))
    encoded(tmp_path, source)
    first, second = tmp_path / "0.nut", tmp_path / "1.nut"
    with pytest.raises(VitspliceError, match=r"cannot read .*gone\.mp4: "):
        join_segments([first], tmp_path / "out.mp4", source.info, tmp_path / "gone.mp4")
    second.write_bytes(b"damaged")
    with pytest.raises(VitspliceError, match=r"cannot read .*1\.nut: "):
        join_segments([first, second], tmp_path / "out.mp4", source.info, None)


@pytest.mark.parametrize(("name", "options"), [("out.mkv", {}), ("out.mov", {"movflags": "+faststart"})])
def test_options_are_those_of_the_container(tmp_path, monkeypatch, name, options):
    muxed, given = module._muxed, []
    monkeypatch.setattr(module, "_muxed", lambda *args, **named: given.append(named) or muxed(*args, **named))
    encoded(tmp_path, open_source(write_clip(tmp_path / "clip.mp4", panned(4))), name)
    assert given[-1] == {"options": options}


@pytest.mark.parametrize("range_number", [1, 2])
def test_matrix_and_range_are_those_of_the_input(tmp_path, range_number):
    image = np.full((64, 64, 3), (30, 160, 70), np.uint8)
    path = write_clip(tmp_path / "clip.mp4", [image] * 3, colours=(1, range_number, 1, 1))
    out, _ = encoded(tmp_path, open_source(path))
    with av.open(str(path)) as before, av.open(str(out)) as after:
        first, second = (next(container.decode(video=0)) for container in (before, after))
        assert (second.colorspace, second.color_range) == (first.colorspace, first.color_range) == (1, range_number)
        planes = [np.frombuffer(bytes(frame.planes[0]), np.uint8).astype(int) for frame in (first, second)]
        assert np.abs(planes[0] - planes[1]).max() <= 2


def test_odd_sizes_are_kept(tmp_path):
    pixels = panned(2, 33, 51)
    encoding = encoding_for(tmp_path / "out.mp4", VideoInfo(51, 33, Fraction(10), Fraction(1, 10)))
    write_segment(tmp_path / "0.nut", [(pixels[0], 0), (pixels[1], 1)], encoding)
    join_segments([tmp_path / "0.nut"], tmp_path / "out.mp4", encoding.info, None)
    assert [frame.shape for frame in read_clip(tmp_path / "out.mp4")[0]] == [(33, 51, 3)] * 2


def test_the_next_encoder_is_used_where_the_first_is_missing(tmp_path, monkeypatch):
    encoders = {"missing": {}, "mpeg4": module.MPEG4_ENCODERS["mpeg4"]}
    monkeypatch.setattr(module, "ENCODERS", {".mp4": encoders, ".mov": {"missing": {}}})
    source = open_source(write_clip(tmp_path / "clip.mp4", panned(4)))
    assert encoding_for(tmp_path / "a.mp4", source.info).codec == "mpeg4"
    assert len(read_clip(encoded(tmp_path, source)[0])[0]) == 4
    with pytest.raises(UserError, match=r"no encoder for \.mov files \(missing\)"):
        encoding_for(tmp_path / "a.mov", source.info)


def test_other_suffixes_are_refused(tmp_path):
    source = open_source(write_clip(tmp_path / "clip.mp4", panned(1)))
    with pytest.raises(UserError, match=r"out\.gif is not the name of a video; outputs are \.mp4, "):
        encoding_for(tmp_path / "out.gif", source.info)


def test_a_file_that_cannot_be_written_is_an_error_without_leftovers(tmp_path):
    source = open_source(write_clip(tmp_path / "clip.mp4", panned(3)))
    encoding = encoding_for(tmp_path / "out.mp4", source.info)
    with pytest.raises(VitspliceError, match="cannot write"):
        write_segment(tmp_path / "gone" / "0.nut", [(panned(1)[0], 0)], encoding)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
