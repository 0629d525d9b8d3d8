import os

import pytest

from vitsplice.errors import OutputExists, UserError, VitspliceError
from vitsplice.support.output_folder import check, check_file, create, write, write_file


def files(path):
    return sorted(file.name for file in path.iterdir())


def test_output_file_that_exists_requires_force_and_a_folder_is_refused(tmp_path):
    path = tmp_path / "out" / "page.html"
    assert check_file(path, "page", force=False) == path
    assert list(tmp_path.iterdir()) == []
    path.parent.mkdir()
    path.write_text("earlier")
    with pytest.raises(OutputExists, match="already exists.*force=True"):
        check_file(path, "page", force=False)
    assert check_file(str(path), "page", force=True) == path
    assert path.read_text() == "earlier"
    with pytest.raises(UserError, match="is a folder; give the name of the page, such as page.html"):
        check_file(tmp_path, "page, such as page.html", force=True)


def test_output_file_may_have_unusual_characters_and_be_a_link_into_another_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "target")
    for name in ("link", "a:b.cube", "back\\slash", "tab\t"):
        write_file(check_file(tmp_path / "out" / name, "page", force=False), b"page")
        assert (tmp_path / "out" / name).read_bytes() == b"page"
    assert (tmp_path / "target").read_bytes() == b"page"
    assert files(tmp_path / "out") == ["a:b.cube", "back\\slash", "link", "tab\t"]


def test_output_file_that_is_a_link_into_a_missing_folder_or_has_a_nul_is_refused(tmp_path):
    (tmp_path / "page.html").symlink_to(tmp_path / "missing" / "page.html")
    with pytest.raises(UserError, match="page.html is a link into a folder that does not exist; choose another name"):
        check_file(tmp_path / "page.html", "page", force=True)
    with pytest.raises(UserError, match="has a NUL character, which no file name can have"):
        check_file(tmp_path / "a\0b", "page", force=False)


def test_output_file_below_a_file_or_in_place_of_a_pipe_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="page.html cannot be written, because .*file is a file; choose another folder"):
        check_file(tmp_path / "file" / "folder" / "page.html", "page", force=False)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe is neither a file nor a folder; give the name of the page"):
        check_file(tmp_path / "pipe", "page", force=True)


def test_output_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="out cannot be created, because .*file is a file; choose another folder"):
        check(tmp_path / "file" / "out", ["page.html"], "a page", force=True)


def test_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(VitspliceError, match="cannot write .*xxx: File name too long"):
        write_file(tmp_path / ("x" * 300), b"page")


def test_name_that_is_too_long_is_refused_by_the_check_of_a_file_and_by_the_creation_of_a_folder(tmp_path):
    path = tmp_path / ("x" * 300)
    with pytest.raises(UserError, match="^the name x+ has more than 255 bytes; choose a shorter one$"):
        check_file(path, "page", force=False)
    assert check(path, ["page.html"], "a page", force=False) == path
    with pytest.raises(UserError, match="cannot create the folder .*xxx: File name too long; choose another"):
        create(path)


def test_file_is_unchanged_if_a_piece_of_its_new_content_raises(tmp_path):
    def pieces():
        yield b"one"
        raise RuntimeError

    write(tmp_path, {"page.html": b"before"})
    with pytest.raises(RuntimeError):
        write(tmp_path, {"page.html": pieces()})
    assert (tmp_path / "page.html").read_text() == "before"
    assert files(tmp_path) == ["page.html"]
