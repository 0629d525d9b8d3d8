import hashlib
import os
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import panned, remuxed, write_clip, write_tone
from PIL import Image

from vitsplice.errors import ImageError, UserError
from vitsplice.images import encode_png
from vitsplice.video.colours import UNSPECIFIED, as_tensor
from vitsplice.video.source import FOLDER_RATE, open_source


def frames_of(path):
    return list(open_source(path).frames())


def test_frames_have_the_pixels_and_times_of_the_file(tmp_path):
    images = panned(4)
    source = open_source(write_clip(tmp_path / "clip.mp4", images, rate=10))
    frames = list(source.frames())
    assert (source.info.width, source.info.height, source.info.rate, source.info.frames) == (96, 64, 10, 4)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [float(frame.time * source.info.time_base) for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3])
    for frame, image in zip(frames, images, strict=True):
        assert np.abs(frame.pixels.astype(int) - image).mean() < 3


def test_frames_of_a_variable_rate_keep_their_times(tmp_path):
    times = [0, 40, 200, 1000]
    source = open_source(write_clip(tmp_path / "clip.mp4", panned(4), times=times))
    assert [round(1000 * frame.time * source.info.time_base) for frame in source.frames()] == times


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotated_frames_are_upright(tmp_path, rotation):
    image = panned(1)[0]
    source = open_source(write_clip(tmp_path / "clip.mp4", [image], rotation=rotation))
    expected = np.rot90(image, rotation // 90)
    assert (source.info.height, source.info.width) == expected.shape[:2]
    assert np.abs(next(source.frames()).pixels.astype(int) - expected).mean() < 3


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((1, 0, 0, -1), lambda image: image[::-1]),
        ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda image: image[::-1, ::-1].swapaxes(0, 1)),
    ],
    ids=["horizontally", "vertically", "transposed", "transposed and turned"],
)
def test_mirrored_frames_are_as_players_show_them(tmp_path, matrix, shown):
    image = panned(1)[0]
    path = write_clip(tmp_path / "clip.mp4", [image], rotation=180)
    unit = 1 << 16  # 1 as a fixed-point number
    turned = struct.pack(">5i", -unit, 0, 0, 0, -unit)  # display matrix of a rotation by 180 degrees
    a, b, c, d = (unit * value for value in matrix)
    data = path.read_bytes()
    assert turned in data
    path.write_bytes(data.replace(turned, struct.pack(">5i", a, b, 0, c, d)))
    source = open_source(path)
    assert (source.info.height, source.info.width) == shown(image).shape[:2]
    assert np.abs(next(source.frames()).pixels.astype(int) - shown(image)).mean() < 3


def test_times_below_0_are_read_unchanged_and_cause_no_note(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", panned(8), audio=True)
    # MPEG-TS has 33-bit times in 1/90000 s. FFmpeg reads those just before 2^33 as negative.
    wrap = Fraction(2**33, 90000)
    source = open_source(remuxed(clip, tmp_path / "wrapped.ts", wrap - 1))
    assert source.info.start == next(source.frames()).time == -90000
    assert source.info.notes == ()


def test_frames_that_an_edit_list_hides_are_not_counted(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", panned(8), codec="mpeg4")
    source = open_source(remuxed(clip, tmp_path / "trimmed.mp4", -0.5))
    assert len(list(source.frames())) == source.info.frames == 3  # those after 0.5 of 0.8 s
    assert source.info.frames_stated


def test_a_title_that_is_not_utf8_is_no_damage(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", panned(1), title="TITLE")
    assert b"TITLE" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"TITLE", b"TITL\xe9"))
    assert open_source(path).info.frames == 1


def test_an_unsupported_colour_matrix_is_noted(tmp_path):
    source = open_source(write_clip(tmp_path / "clip.mp4", panned(1), colours=(8, 1, 1, 1)))
    assert source.info.colours.matrix == UNSPECIFIED
    note = "the input has colour matrix 8 of H.273, which is not supported; colours may be wrong"
    assert source.info.notes == (note,)


def test_the_only_frame_of_a_video_is_read(tmp_path):
    assert len(frames_of(write_clip(tmp_path / "clip.mp4", panned(1)))) == 1


@pytest.mark.parametrize(("is_full_range", "range_number"), [(False, 1), (True, 2)])
def test_colours_of_either_range_are_converted_by_the_stated_matrix(tmp_path, is_full_range, range_number):
    image = np.full((64, 64, 3), (200, 40, 60), np.uint8)
    source = open_source(write_clip(tmp_path / "clip.mp4", [image], colours=(1, range_number, 1, 1)))
    assert (source.info.colours.matrix, source.info.colours.is_full_range) == (1, is_full_range)
    assert np.abs(next(source.frames()).pixels.astype(int) - image).max() <= 3


def test_a_folder_of_images_is_a_video(tmp_path):
    images = panned(3)
    for number, image in enumerate(images):
        (tmp_path / f"{number}.png").write_bytes(encode_png(as_tensor(image)))
    source = open_source(tmp_path)
    assert (source.info.rate, source.info.time_base) == (FOLDER_RATE, Fraction(1, 25))
    assert all(np.array_equal(frame.pixels, image) for frame, image in zip(source.frames(), images, strict=True))


def test_the_name_of_an_image_need_not_be_utf8(tmp_path):
    data = encode_png(as_tensor(panned(1)[0]))
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(data)
    expected = b"caf\xe9.png\0" + hashlib.sha256(data).hexdigest().encode() + b"\n"
    assert open_source(tmp_path).digest() == hashlib.sha256(expected).hexdigest()


def test_images_of_different_sizes_are_refused(tmp_path):
    for number, side in enumerate((32, 48)):
        (tmp_path / f"{number}.png").write_bytes(encode_png(as_tensor(panned(1, side, side)[0])))
    with pytest.raises(ImageError, match=r"1\.png is 48x48 px .* first one is 32x32 px"):
        frames_of(tmp_path)


def test_what_is_no_video_is_refused_with_a_reason(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video " * 100)
    clip = write_clip(tmp_path / "clip.mp4", panned(4)).read_bytes()
    (tmp_path / "half.mp4").write_bytes(clip[: len(clip) // 2])
    for name in ("empty.mp4", "text.mp4", "half.mp4"):
        with pytest.raises(ImageError, match=f"{name}' is no video, or is damaged: "):
            open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["missing.mp4", f"{'x' * 300}.mp4"], ids=["short name", "name that is too long"])
def test_a_path_that_does_not_exist_is_refused(tmp_path, name):
    with pytest.raises(ImageError, match=rf"{name}' does not exist"):
        open_source(tmp_path / name)


def test_a_named_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ImageError, match=r"pipe\.mp4' is not a regular file; give a video file"):
        open_source(tmp_path / "pipe.mp4")


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no images\. Images end in "):
        open_source(tmp_path / "empty")


@pytest.mark.parametrize("name", ["clip.mkv", "clip.h264"])
def test_frames_are_counted_if_the_file_does_not_state_their_number(tmp_path, name):
    info = open_source(write_clip(tmp_path / name, panned(8))).info
    assert (info.frames, info.frames_stated, info.notes) == (8, False, ())


def test_longer_audio_does_not_add_frames(tmp_path):
    info = open_source(write_clip(tmp_path / "clip.mkv", panned(8), audio=True, audio_seconds=3)).info
    assert (info.frames, info.notes) == (8, ())


def test_transparency_is_noted_but_an_opaque_alpha_channel_is_not(tmp_path):
    frames = [np.dstack([pixels, np.full(pixels.shape[:2], 100, np.uint8)]) for pixels in panned(2)]
    clip = write_clip(tmp_path / "clip.mov", frames, codec="png", pix_fmt="rgba", form="rgba")
    assert open_source(clip).info.notes == ("the transparency of the input is left out",)
    opaque = write_clip(tmp_path / "clip.gif", panned(2), codec="gif", pix_fmt="rgb8")  # decoded with alpha
    assert open_source(opaque).info.notes == ()


def test_transparency_that_is_not_decoded_is_noted(tmp_path):
    frames = [np.dstack([pixels, np.full(pixels.shape[:2], 100, np.uint8)]) for pixels in panned(1)]
    clip = write_clip(tmp_path / "clip.webm", frames, codec="libvpx-vp9", pix_fmt="yuva420p", form="rgba")
    assert open_source(clip).info.notes == ("the transparency of the input is left out",)


def test_a_folder_has_the_notes_of_its_first_image(tmp_path):
    Image.new("RGBA", (48, 32), (200, 40, 60, 100)).save(tmp_path / "0.png")
    assert open_source(tmp_path).info.notes == (f"{tmp_path / '0.png'}: alpha composited on white",)


def test_a_video_whose_end_is_damaged_has_a_note(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", panned(8, step=5), codec="mpeg4")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    source = open_source(path)
    assert 0 < len(list(source.frames())) == source.info.frames < 8
    assert source.info.notes == ("the file states a duration of 0.8 s, of which 0.1 s could be read",)


def test_a_truncated_video_is_read_up_to_its_last_complete_frame(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", panned(8, step=5), options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[:-600])
    source = open_source(path)
    assert 0 < len(list(source.frames())) == source.info.frames < 8
    (note,) = source.info.notes
    assert note.startswith("the file states a duration of 0.8 s, of which 0.")


@pytest.mark.parametrize("missing_bytes", [20, 200])
def test_an_incomplete_last_frame_is_left_out_although_the_decoder_would_conceal_missing_data(tmp_path, missing_bytes):
    path = write_clip(tmp_path / "clip.mp4", panned(6, step=5), codec="mpeg4", options={"movflags": "+faststart"})
    expected = frames_of(path)
    path.write_bytes(path.read_bytes()[:-missing_bytes])
    source = open_source(path)
    frames = list(source.frames())
    assert 0 < len(frames) == source.info.frames < 6
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(frames, expected, strict=False))


def test_frames_after_lost_packets_are_counted(tmp_path):
    path = write_clip(tmp_path / "clip.ts", panned(20, 128, 192, step=5), crf="10")
    data, packet_size = path.read_bytes(), 188  # bytes of a packet of MPEG-TS
    middle = len(data) // packet_size // 2 * packet_size
    path.write_bytes(data[:middle] + data[middle + 2 * packet_size :])
    source = open_source(path)
    with source._opened() as container:
        assert any(each.is_corrupt for each in container.demux(video=0))
    assert len(list(source.frames())) == source.info.frames


def test_a_video_that_starts_after_time_0_has_a_note_only_if_it_is_truncated(tmp_path):
    later = remuxed(write_clip(tmp_path / "clip.mp4", panned(20, step=5)), tmp_path / "later.mkv", 1000)
    assert open_source(later).info.notes == ()
    later.write_bytes(later.read_bytes()[:-2500])
    (note,) = open_source(later).info.notes
    assert note.startswith("the file states a duration of 2.0 s, of which ")


@pytest.fixture(scope="module")
def clips_with_audio(tmp_path_factory):
    """A clip with audio of each codec, which tests leave unchanged."""
    folder = tmp_path_factory.mktemp("clips")
    codecs = ("libx264", "mpeg4")
    return {codec: write_clip(folder / f"{codec}.mp4", panned(20), audio=True, codec=codec) for codec in codecs}


@pytest.mark.parametrize("offset", [0, 9])
@pytest.mark.parametrize("name", ["whole.nut", "whole.asf", "whole.flv", "whole.ts", "whole.mov", "whole.avi"])
def test_a_complete_video_has_no_note_on_its_duration(clips_with_audio, tmp_path, name, offset):
    clip = clips_with_audio["libx264" if name in ("whole.flv", "whole.ts", "whole.mov") else "mpeg4"]
    assert open_source(remuxed(clip, tmp_path / name, offset)).info.notes == ()


def test_a_video_without_a_decoder_is_refused(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", panned(1))
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"))
    with pytest.raises(
        ImageError, match=r"clip\.mkv' has a video codec that the installed PyAV cannot decode; convert"
    ):
        open_source(path)


def test_a_file_without_a_video_stream_is_refused(tmp_path):
    with av.open(str(tmp_path / "tone.m4a"), "w") as container:
        write_tone(container, container.add_stream("aac", rate=8000), 1)
    with pytest.raises(ImageError, match="has no video stream"):
        open_source(tmp_path / "tone.m4a")


def test_a_playlist_is_refused(tmp_path):
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    with pytest.raises(ImageError, match=r"list\.m3u8' is no video, or is damaged"):
        open_source(tmp_path / "list.m3u8")
