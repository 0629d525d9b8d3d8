import os
from fractions import Fraction
from pathlib import Path

import pytest
from clips import panned, read_clip

from vitsplice.errors import UserError
from vitsplice.video.destination import check_free, destination_for
from vitsplice.video.source import Frame, VideoInfo, VideoSource
from vitsplice.video.work import MAY_REPLACE, remove_parts

INFO = VideoInfo(96, 64, Fraction(10), Fraction(1, 10))


class Frames(VideoSource):
    """A source of two frames without audio."""

    info = INFO

    def digest(self):
        return ""

    def frames(self):
        return (Frame(index, pixels, index) for index, pixels in enumerate(panned(2)))


def added(path, work):
    """Write two frames to a destination, and return it, its source and the size of the segment."""
    destination, source = destination_for(path, INFO), Frames(path)
    frames = list(source.frames())
    size = destination.add(work, 0, frames, [frame.pixels for frame in frames])
    return destination, source, size


def finished(path, work):
    """Write two frames to a destination, and finish it."""
    destination, source, _ = added(path, work)
    destination.join(work, 1, source)
    destination.replace(work, 2)


def test_a_video_is_joined_in_the_folder_of_the_work(tmp_path, monkeypatch):
    """A process that is killed while it joins leaves no temporary file beside the output."""
    replace, replaced = os.replace, []
    monkeypatch.setattr(os, "replace", lambda a, b: replaced.append((a, b)) or replace(a, b))
    (tmp_path / "out").mkdir()
    finished(tmp_path / "out" / "a.mp4", tmp_path / "work")
    assert [os.path.dirname(target) for _, target in replaced] == [
        str(tmp_path / "work" / "segments"),
        str(tmp_path / "work" / "segments"),
        str(tmp_path / "out"),
    ]
    assert os.listdir(tmp_path / "out") == ["a.mp4"]
    assert len(read_clip(tmp_path / "out" / "a.mp4")[0]) == 2


def test_a_joined_video_of_a_killed_process_is_removed_with_the_segments(tmp_path):
    finished(tmp_path / "a.mp4", tmp_path / "work")
    (tmp_path / "work" / "segments" / "joined.mp4").touch()
    remove_parts(tmp_path / "work")
    assert not list((tmp_path / "work").iterdir())


def test_temporary_files_of_a_killed_process_are_removed_from_a_folder_of_frames(tmp_path):
    (tmp_path / "out").mkdir()
    for name in (".0123456789abcdef.tmp", ".mine.tmp"):
        (tmp_path / "out" / name).touch()
    finished(tmp_path / "out", tmp_path / "work")
    assert sorted(os.listdir(tmp_path / "out")) == [".mine.tmp", "000000.png", "000001.png"]


@pytest.mark.parametrize(("earlier", "remaining"), [("", [2, 3, 4]), ("4", [4])])
def test_only_frames_of_the_earlier_output_are_removed(tmp_path, earlier, remaining):
    (tmp_path / "out").mkdir()
    for number in range(5):
        (tmp_path / "out" / f"{number:06d}.png").touch()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / MAY_REPLACE).write_text(earlier)
    finished(tmp_path / "out", tmp_path / "work")
    assert sorted(os.listdir(tmp_path / "out")) == [f"{number:06d}.png" for number in (0, 1, *remaining)]


@pytest.mark.parametrize(("name", "file"), [("out.mp4", "work/segments/00000.nut"), ("out", "out/000001.png")])
def test_damaged_frames_are_not_held(tmp_path, name, file):
    destination, _, size = added(tmp_path / name, tmp_path / "work")
    assert destination.holds(tmp_path / "work", [size], 2)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-1])
    assert not destination.holds(tmp_path / "work", [size], 2)
    (tmp_path / file).unlink()
    assert not destination.holds(tmp_path / "work", [size], 2)


def test_an_empty_frame_of_a_finished_output_is_not_held(tmp_path):
    destination, _, _ = added(tmp_path / "out", tmp_path / "work")
    assert destination.holds(tmp_path / "work", (), 2)
    (tmp_path / "out" / "000001.png").write_bytes(b"")
    assert not destination.holds(tmp_path / "work", (), 2)


def test_an_output_that_cannot_be_read_is_an_error_that_names_it(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(UserError, match=f"cannot read {tmp_path}: Permission denied"):
        check_free(tmp_path, force=False)


def test_an_output_whose_name_is_too_long_is_free():
    check_free(Path("x" * 300, "out"), force=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("link.mp4", "is a link into a folder that does not exist"),
        ("pipe.mp4", "is neither a file nor a folder"),
        ("pipe", "pipe is a file; give a folder for frames, or a video file such as out.mp4"),
    ],
)
def test_an_output_that_can_never_be_written_is_refused_at_once(tmp_path, name, message):
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone" / "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=message):
        destination_for(tmp_path / name, INFO)
