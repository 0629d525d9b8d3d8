"""Files that cannot be opened or are no images."""

import os

import pytest
from PIL import Image

from tests.images.conftest import refused, rgb8
from vitsplice.images import formats


def test_missing_file(tmp_path):
    message = refused(tmp_path / "none.png")
    assert "none.png" in message
    assert "does not exist" in message


def test_folder(tmp_path):
    (tmp_path / "folder.png").mkdir()
    message = refused(tmp_path / "folder.png")
    assert "folder.png" in message
    assert "folder, not" in message


def test_empty_file(tmp_path):
    (tmp_path / "void.png").touch()
    assert refused(tmp_path / "void.png") == f"'{tmp_path / 'void.png'}' is empty"


def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe.png' is not a regular file" in refused(tmp_path / "pipe.png")


def test_impossible_names(tmp_path):
    assert "a\\x00.png" in refused("a\0.png")
    assert "n.png" in refused("n" * 5000 + "n.png")


def test_file_below_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    assert "file/a.png" in refused(tmp_path / "file" / "a.png")


def test_permission_denied(tmp_path, monkeypatch):
    Image.fromarray(rgb8()).save(tmp_path / "locked.png")

    def deny(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(formats, "open", deny, raising=False)
    message = refused(tmp_path / "locked.png")
    assert "locked.png" in message
    assert "permission denied" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_permission_denied_by_the_system(tmp_path):
    Image.fromarray(rgb8()).save(tmp_path / "locked.png")
    (tmp_path / "locked.png").chmod(0)
    assert "permission denied" in refused(tmp_path / "locked.png")


def test_not_a_image(tmp_path):
    (tmp_path / "notes.txt").write_text("once upon a time\n" * 40)
    message = refused(tmp_path / "notes.txt")
    assert "notes.txt" in message
    assert all(name in message for name in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"))


def test_a_format_that_pillow_knows_and_we_do_not_accept(tmp_path):
    Image.fromarray(rgb8()).save(tmp_path / "a.gif")
    message = refused(tmp_path / "a.gif")
    assert "a.gif" in message
    assert "is GIF" in message
    assert "accepted are PNG, JPEG, WEBP, TIFF, BMP" in message


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
def test_formats_named_by_their_first_bytes(tmp_path, start, said):
    (tmp_path / "a.jpg").write_bytes(start + bytes(100))
    assert f"is {said}, which cannot be read" in refused(tmp_path / "a.jpg")
