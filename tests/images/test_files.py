"""Files that cannot be opened or are not images; the packaged examples."""

import os

import pytest
from PIL import Image

from tests.images.conftest import refused, rgb8
from vitsplice.errors import ImageError, ImageNotFound, UnknownName
from vitsplice.images import EXAMPLE_PAIRS, decode, example, read


@pytest.mark.parametrize(
    ("name", "create", "expected"),
    [
        ("none.png", lambda path: None, "does not exist"),
        ("folder.png", os.mkdir, "is a folder, not an image"),
        ("void.png", lambda path: path.touch(), "is empty"),
        ("pipe.png", os.mkfifo, "is not a regular file"),
        ("file.png/a.png", lambda path: path.parent.write_bytes(b"x"), "Not a directory"),
    ],
)
def test_missing_empty_and_special_files_are_refused_without_blocking(tmp_path, name, create, expected):
    create(tmp_path / name)
    message = refused(tmp_path / name)
    assert name in message
    assert expected in message


def test_invalid_file_names_are_refused(tmp_path):
    assert "a\\x00.png" in refused("a\0.png")
    assert "n.png" in refused("n" * 5000 + "n.png")


@pytest.mark.parametrize("name", ["none.png", "file.png/a.png", "n" * 5000 + ".png"])
def test_only_a_path_of_no_file_raises_image_not_found(tmp_path, name):
    (tmp_path / "file.png").write_bytes(b"x")
    with pytest.raises(ImageNotFound):
        read(tmp_path / name)
    with pytest.raises(ImageError) as raised:
        read(tmp_path / "file.png")
    assert not isinstance(raised.value, ImageNotFound)


def test_permission_error_is_reported(tmp_path, monkeypatch):
    Image.fromarray(rgb8()).save(tmp_path / "locked.png")

    def deny(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(decode, "open", deny, raising=False)
    message = refused(tmp_path / "locked.png")
    assert "locked.png" in message
    assert "permission denied" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file_is_reported(tmp_path):
    Image.fromarray(rgb8()).save(tmp_path / "locked.png")
    (tmp_path / "locked.png").chmod(0)
    assert "permission denied" in refused(tmp_path / "locked.png")


def test_text_file_is_refused_with_the_supported_formats(tmp_path):
    (tmp_path / "notes.txt").write_text("once upon a time\n" * 40)
    message = refused(tmp_path / "notes.txt")
    assert "notes.txt" in message
    assert all(name in message for name in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"))


def test_unsupported_format_is_named(tmp_path):
    Image.fromarray(rgb8()).save(tmp_path / "a.gif")
    message = refused(tmp_path / "a.gif")
    assert "a.gif" in message
    assert "is GIF" in message
    assert "supported are PNG, JPEG, WEBP, TIFF, BMP" in message


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
def test_unsupported_formats_are_named_by_their_first_bytes(tmp_path, start, expected):
    (tmp_path / "a.jpg").write_bytes(start + bytes(100))
    assert f"is {expected}, which is not supported" in refused(tmp_path / "a.jpg")


def test_default_example_is_the_first_pair():
    assert example() == example("apple-orange")
    assert [path.name for path in example()] == ["apple.jpg", "orange.jpg"]


@pytest.mark.parametrize("name", EXAMPLE_PAIRS)
def test_examples_are_readable_and_credited(name):
    for path in example(name):
        image = read(path)
        assert min(image.pixels.shape[-2:]) >= 300
        assert image.pixels.std() > 0.1
        assert image.notes == ()
        assert f"`{path.name}`" in (path.parent / "CREDITS.md").read_text()


def test_examples_take_less_than_a_megabyte():
    folder = example()[0].parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000


def test_unknown_example_is_refused_with_the_available_ones():
    with pytest.raises(UnknownName, match="apple-orange, cat-dog"):
        example("pear\n")
