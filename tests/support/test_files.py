import os
import stat
import tracemalloc
from pathlib import Path

import pytest

from vitsplice.errors import PathRejected, UserError
from vitsplice.support import files
from vitsplice.support.files import (
    absolute,
    cache_folder,
    inside,
    read_regular,
    safe_file_name,
    temporary_files,
    unique_names,
    write_atomically,
)


@pytest.fixture
def umask():
    """Set the umask, and restore it after the test."""
    old = os.umask(0)
    os.umask(old)
    yield os.umask
    os.umask(old)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_new_file_is_written_without_temporary_files(tmp_path):
    write_atomically(tmp_path / "a.bin", b"\0new\n")
    assert (tmp_path / "a.bin").read_bytes() == b"\0new\n"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.slow
def test_pieces_are_written_without_holding_all_in_memory(tmp_path):
    number, piece = 20_000, b"x" * 1000
    tracemalloc.start()
    write_atomically(tmp_path / "a.bin", (b"%06d" % index + piece for index in range(number)))
    assert tracemalloc.get_traced_memory()[1] < number * len(piece) / 20
    tracemalloc.stop()
    assert (tmp_path / "a.bin").read_bytes() == b"".join(b"%06d" % index + piece for index in range(number))


def test_old_file_is_replaced(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"a longer old text")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("failing", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_failed_write_preserves_the_old_file_and_leaves_no_temporary_file(tmp_path, monkeypatch, failing, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    listing = []

    def fail(*_):
        listing.extend(os.listdir(tmp_path))
        raise error

    monkeypatch.setattr(files.os, failing, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert len(listing) == 2  # the temporary file was in the same folder
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_data_is_synced_before_the_file_is_replaced(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda fd: (calls.append(os.fstat(fd).st_size), fsync(fd))[1])
    monkeypatch.setattr(files.os, "replace", lambda a, b: (calls.append("replace"), replace(a, b))[1])
    write_atomically(tmp_path / "a.bin", b"12345")
    assert calls == [5, "replace"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_new_file_has_the_mode_of_the_umask(tmp_path, umask, mask, mode):
    umask(mask)
    write_atomically(tmp_path / "a.bin", b"")
    assert mode_of(tmp_path / "a.bin") == mode


def test_replaced_file_preserves_its_mode(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_atomically(path, b"new")
    assert mode_of(path) == 0o640


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "a.bin"
    target.write_bytes(b"old")
    link = tmp_path / "link.bin"
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["a.bin"]


def test_file_with_a_name_of_the_maximum_length_is_written(tmp_path):
    write_atomically(tmp_path / ("n" * 255), b"new")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "a.bin", b"new")


def test_folder_or_pipe_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(FileExistsError, match=name):
            write_atomically(tmp_path / name, b"new")
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]
    assert (tmp_path / "folder").is_dir()
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("name", ["a", "a/b.png", "a b/ä-1.png", ".lock", "key_layer_-1", "a..b"])
def test_name_inside_the_folder_is_joined(tmp_path, name):
    assert inside(tmp_path / "out", name) == tmp_path / "out" / name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "/", "/etc/passwd", "../a", "a/../../b", "a/..", "a//b", "a/", "./a", "C:a", "c:/a", "a\\b",
        "a\0b", "a\nb", "\ud800", "a" * 256, "ä" * 128, "b/" + "a" * 256,
    ],
)  # fmt: skip
def test_name_that_is_invalid_or_leads_out_of_the_folder_is_refused(tmp_path, name):
    with pytest.raises(PathRejected) as error:
        inside(tmp_path, name)
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()


def test_temporary_files_exclude_folders(tmp_path):
    (tmp_path / ".0123456789abcdef.tmp").mkdir()
    (tmp_path / ".fedcba9876543210.tmp").touch()
    assert [path.name for path in temporary_files(tmp_path)] == [".fedcba9876543210.tmp"]


def test_pipe_is_refused_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(PathRejected, match="neither a file nor a folder"):
        inside(tmp_path, "pipe")
    for name in ("pipe", "zero"):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(tmp_path / name)


def test_symbolic_link_that_leads_out_of_the_folder_is_refused(tmp_path):
    out, other = tmp_path / "out", tmp_path / "out-other"
    out.mkdir()
    other.mkdir()
    (out / "a").symlink_to(other)
    (out / "b").symlink_to(out / "c")
    (out / "c").mkdir()
    (out / "gone").symlink_to(other / "not-there")
    for name in ("a", "a/file", "gone"):
        with pytest.raises(PathRejected, match="remove that symbolic link"):
            inside(out, name)
    assert inside(out, "b/file") == out / "b" / "file"
    (tmp_path / "linked").symlink_to(out)
    assert inside(tmp_path / "linked", "b") == tmp_path / "linked" / "b"


def test_files_of_the_same_name_are_distinguished_by_their_folders():
    assert unique_names([Path("x/a.png"), Path("y/a.png"), Path("a 1.png")]) == ["x/a", "y/a", "a 1"]
    assert unique_names([Path("p/x/a.png"), Path("q/x/a.png")]) == ["p/x/a", "q/x/a"]
    assert unique_names([Path("x/a.png"), Path("x/a.jpg"), Path("b.png")]) == ["a.png", "a.jpg", "b"]
    assert unique_names([Path("/"), Path("/a.png")]) == ["/", "a"]


def test_names_of_files_are_unique_and_independent_of_their_order():
    paths = [Path(name) for name in ("a.png", "x/a.png", "x/a.png.png", "y/x/a.png", "a 1.png", "x/a 1.png", "a.jpg")]
    given = unique_names(paths)
    assert len(set(given)) == len(paths)
    assert unique_names(paths[::-1]) == given[::-1]
    assert len(set(unique_names([*paths, *paths]))) == 2 * len(paths)


@pytest.mark.parametrize(
    ("data", "message"), [(None, r"a\\n\.txt does not exist"), (b"\xff", r"a\\n\.txt is not UTF-8 text")]
)
def test_error_of_reading_names_the_path(tmp_path, data, message):
    path = tmp_path / "a\n.txt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError, match=message), files.reading(path):
        path.read_text("utf-8")


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("VITSPLICE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache/vitsplice"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/vitsplice"
    monkeypatch.setenv("VITSPLICE_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("variable", ["VITSPLICE_CACHE", "XDG_CACHE_HOME"])
def test_cache_folder_in_an_unknown_home_folder_is_refused_with_advice(monkeypatch, variable):
    monkeypatch.delenv("VITSPLICE_CACHE", raising=False)
    monkeypatch.setenv(variable, "~no-such-user/x")
    with pytest.raises(UserError, match=r"~no-such-user/x, but that home folder is unknown; set VITSPLICE_CACHE to"):
        cache_folder()


def test_unknown_home_folder_of_the_user_is_refused_with_advice(monkeypatch):
    for variable in ("VITSPLICE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without an entry in /etc/passwd
    with pytest.raises(UserError, match=r"files is ~/\.cache, but that home folder is unknown"):
        cache_folder()


@pytest.mark.parametrize(("name", "expected"), [("a b/c", "a_b_c"), ("..x", "x"), ("", "_"), ("中" * 80, "中" * 53)])
def test_safe_file_name_is_short_enough_for_file_systems(name, expected):
    assert safe_file_name(name) == expected


def test_absolute_path_is_that_of_the_same_file_if_dots_follow_a_link(tmp_path, monkeypatch):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "inner")
    (tmp_path / "real" / "a.txt").write_text("right")
    (tmp_path / "a.txt").write_text("wrong")
    monkeypatch.chdir(tmp_path)
    assert absolute("link/../a.txt").read_text() == "right"
    assert absolute("link/..") == (tmp_path / "real").resolve()
    assert absolute("./a.txt") == tmp_path / "a.txt"
