import hashlib
import json
import os
import random
import subprocess
import sys

import pytest

from vitsplice.errors import ImageError, VitspliceError
from vitsplice.support import jsonl as logs
from vitsplice.support.jsonl import Log, key_of, stamp, write_lines


@pytest.fixture
def path(tmp_path):
    return tmp_path / "values.jsonl"


def test_lines_are_found_in_this_process_and_in_the_next(path, monkeypatch):
    monkeypatch.setattr(logs, "RECENT", 7)
    rng = random.Random(0)
    numbers = [rng.randrange(1, 2**64) for _ in range(50)]
    with Log(path) as log:
        for number in numbers:
            assert number not in log
            log.add(number, {"value": str(number)})
            assert number in log
        assert all(log[number] == {"value": str(number)} for number in numbers)
    with Log(path) as log:
        assert all(log[number] == {"value": str(number)} for number in numbers)
        assert 1 not in log
        with pytest.raises(KeyError):
            log[1]


def test_of_two_lines_of_a_key_the_last_counts(path):
    with Log(path) as log:
        log.add(5, {"value": 1})
        log.add(5, {"value": 2})
        assert log[5] == {"value": 2}
    with Log(path) as log:
        assert log[5] == {"value": 2}


def test_cut_anywhere_it_goes_on_with_what_is_whole(path):
    with Log(path) as log:
        for number in range(1, 4):
            log.add(number, {"value": "ä" * number})
    whole = path.read_bytes()
    ends = [n for n, byte in enumerate(whole, 1) if byte == ord("\n")]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        with Log(path) as log:
            assert [n in log for n in (1, 2, 3)] == [n <= kept for n in (1, 2, 3)]
            log.add(9, {"value": 9})
        with Log(path) as log:
            assert log[9] == {"value": 9}
            assert all(log[n] == {"value": "ä" * n} for n in range(1, kept + 1))


def test_lines_that_are_none_are_passed_over(path):
    alien = ["[]", "{}", "null", '{"key": 3}', '{"key": "zz"}', f'{{"key": "{"f" * 20}"}}', '{"key": "-1"}', "[" * 9999]
    path.write_text("\n".join([*alien, '{"key": "0a", "value": 1}', ""]) + "\0\0\n")
    with Log(path) as log:
        assert log[10] == {"value": 1}
        assert 0 not in log


def test_what_a_killed_process_wrote_is_there(path):
    code = "import sys, os, signal; from vitsplice.support.jsonl import Log; from pathlib import Path\n"
    code += "log = Log(Path(sys.argv[1])); [log.add(n, {'value': n}) for n in range(1, 101)]; os.kill(os.getpid(), 9)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", code, path], env=environment).returncode == -9
    with Log(path) as log:
        assert all(log[n] == {"value": n} for n in range(1, 101))


def test_a_file_that_something_else_changes_is_refused(path):
    with Log(path) as log:
        log.add(1, {"value": 1})
        path.write_text('{"key": "02", "value": 1}\n')
        with pytest.raises(VitspliceError, match="changed by something else"):
            log[1]
    with pytest.raises(VitspliceError, match="cannot use"):
        Log(path / "below")


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_told_and_what_was_written_is_there(path):
    added = []

    def fill():
        with Log(path) as log:
            for number in range(1, 1000):
                log.add(number, {"value": "x" * 100})
                added.append(number)

    with pytest.raises(VitspliceError, match=r"cannot use .*values\.jsonl: "):
        fill()
    with Log(path) as log:
        assert [number for number in range(1000) if number in log] == added
    assert len(added) > 20


@pytest.mark.usefixtures("full_disk")
def test_what_only_closing_finds_is_told_too(path):
    file = path.open("wb")
    file.write(b"x" * 5000)
    with pytest.raises(VitspliceError, match="cannot use"):
        logs.close(file, path, None)
    assert file.closed


@pytest.mark.parametrize(
    "parts", [(), ("",), ("a", "b"), ("a, b",), ('"\\\n\x7f', 1, None), ("ä猫\u2028\udcff", ("x", 2))]
)
def test_a_key_is_the_blake2b_of_the_parts_as_json(parts):
    """Files are kept under it: it must not change."""
    text = json.dumps([str(part) for part in parts])
    assert f"{key_of(*parts):016x}" == hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def test_a_stamp_is_another_when_the_file_is(path):
    path.write_text("one")
    first = stamp(path)
    assert first == stamp(path) == stamp(path.parent / "." / path.name)
    path.write_text("three")
    assert stamp(path) != first
    path.write_text("two")
    os.utime(path, ns=(0, first[2] + 1))
    assert stamp(path) != first
    for gone in (path / "below", path.with_name("x" * 300), path.with_name("a\0b")):
        with pytest.raises(ImageError, match="does not exist|cannot be read"):
            stamp(gone)


def test_keys_tell_parts_apart():
    assert key_of("a", "bc") != key_of("ab", "c")
    assert key_of("a", 1) == key_of("a", 1) > 0


def test_lines_are_written_whole_or_not_at_all(path):
    def broken():
        yield "one\n"
        raise RuntimeError

    write_lines(path, ["before\n"])
    with pytest.raises(RuntimeError):
        write_lines(path, broken())
    assert path.read_text() == "before\n"
    assert list(path.parent.iterdir()) == [path]
