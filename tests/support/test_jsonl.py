import hashlib
import json
import os
import random
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest

from vitsplice.errors import VitspliceError
from vitsplice.support import jsonl
from vitsplice.support.jsonl import JsonLinesLog, key_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "values.jsonl"


def test_records_are_read_by_key_also_when_reopened(path, monkeypatch):
    monkeypatch.setattr(jsonl, "RECENT", 7)
    rng = random.Random(0)
    keys = [rng.randrange(1, 2**64) for _ in range(50)]
    with JsonLinesLog(path) as log:
        for key in keys:
            assert key not in log
            log.add(key, {"value": str(key)})
            assert key in log
        assert all(log[key] == {"value": str(key)} for key in keys)
    with JsonLinesLog(path) as log:
        assert all(log[key] == {"value": str(key)} for key in keys)
        assert 1 not in log
        with pytest.raises(KeyError):
            log[1]


@pytest.mark.parametrize("recent", [1, 256])
def test_last_record_of_a_key_counts(path, monkeypatch, recent):
    monkeypatch.setattr(jsonl, "RECENT", recent)
    with JsonLinesLog(path) as log:
        for value in (1, 2):
            log.add(5, {"value": value})
        assert log[5] == {"value": 2}
    with JsonLinesLog(path) as log:
        assert log[5] == {"value": 2}


def test_file_truncated_anywhere_retains_its_complete_lines(path):
    with JsonLinesLog(path) as log:
        for number in range(1, 4):
            log.add(number, {"value": "ä" * number})
    content = path.read_bytes()
    ends = [n for n, byte in enumerate(content, 1) if byte == ord("\n")]
    for length in range(len(content)):
        path.write_bytes(content[:length])
        complete = sum(end <= length for end in ends)
        with JsonLinesLog(path) as log:
            assert [n in log for n in (1, 2, 3)] == [n <= complete for n in (1, 2, 3)]
            log.add(9, {"value": 9})
        with JsonLinesLog(path) as log:
            assert log[9] == {"value": 9}
            assert all(log[n] == {"value": "ä" * n} for n in range(1, complete + 1))


def test_invalid_lines_are_ignored(path):
    keys = ("zz", "f" * 20, "-1", "0")
    invalid = ["[]", "{}", "null", '{"key": 3}', *(f'{{"key": "{key}"}}' for key in keys)]
    path.write_text("\n".join([*invalid, "[" * 9999, '{"key": "0a", "value": 1}', ""]) + "\0\0\n")
    with JsonLinesLog(path) as log:
        assert log[10] == {"value": 1}
        assert 0 not in log
        log.compact()
        assert log[10] == {"value": 1}
    assert path.read_text() == '{"key": "0a", "value": 1}\n'


def test_compact_retains_the_last_record_of_the_selected_keys_in_order(path):
    with JsonLinesLog(path, lambda record: record["number"]) as log:
        for number, value in [(3, "a"), (1, "b"), (2, "c"), (3, "d"), (1, "e")]:
            log.add(number, {"number": number, "value": value})
        log.compact(lambda keys: keys != 2)
        assert (2 in log, log[1]["value"], log[3]["value"]) == (False, "e", "d")
        log.add(4, {"number": 4, "value": "f"})
    assert [json.loads(line)["value"] for line in path.read_text().splitlines()] == ["d", "e", "f"]


def test_compaction_that_is_interrupted_after_it_replaced_the_file_loses_no_record(path, monkeypatch):
    def fill_and_compact():
        with JsonLinesLog(path) as log:
            for number in (1, 2, 2, 3):
                log.add(number, {"value": number})
            # called for each line of the new file
            monkeypatch.setattr(log, "_parse", Mock(side_effect=[(1, {}), KeyboardInterrupt]))
            log.compact()

    with pytest.raises(KeyboardInterrupt):
        fill_and_compact()
    with JsonLinesLog(path) as log:
        assert [log[number]["value"] for number in (1, 2, 3)] == [1, 2, 3]


def test_restart_empties_the_file(path):
    for _ in range(2):
        with JsonLinesLog(path, restart=True) as log:
            assert 1 not in log
            log.add(1, {})


@pytest.mark.slow
def test_records_survive_a_killed_process(path):
    code = "import sys, os; from vitsplice.support.jsonl import JsonLinesLog; from pathlib import Path\n"
    code += "log = JsonLinesLog(Path(sys.argv[1])); [log.add(n, {'value': n}) for n in range(1, 101)]; "
    code += "os.kill(os.getpid(), 9)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", code, path], env=environment).returncode == -9
    with JsonLinesLog(path) as log:
        assert all(log[n] == {"value": n} for n in range(1, 101))


def test_file_changed_by_another_program_is_refused(path):
    with JsonLinesLog(path) as log:
        log.add(1, {"value": 1})
        path.write_text('{"key": "02", "value": 1}\n')
        with pytest.raises(VitspliceError, match="changed by another program; run the same command again"):
            log[1]


def test_path_below_a_file_is_refused(path):
    path.touch()
    with pytest.raises(VitspliceError, match="cannot use"):
        JsonLinesLog(path / "below")


@pytest.mark.usefixtures("full_disk")
def test_full_disk_is_reported_and_complete_records_remain(path):
    added = []

    def fill():
        with JsonLinesLog(path) as log:
            for number in range(1, 1000):
                log.add(number, {"value": "x" * 100})
                added.append(number)

    with pytest.raises(VitspliceError, match=r"cannot use .*values\.jsonl: "):
        fill()
    assert path.read_bytes().endswith(b"\n")
    with JsonLinesLog(path) as log:
        assert [number for number in range(1000) if number in log] == added
    assert len(added) > 20


@pytest.mark.usefixtures("full_disk")
def test_error_on_closing_is_reported(path):
    log = JsonLinesLog(path)
    log._writer.write(b"x" * 5000)
    with pytest.raises(VitspliceError, match="cannot use"), log:
        pass
    assert log._writer.closed
    assert path.read_bytes() == b""


def test_index_takes_16_bytes_a_record(path):
    with JsonLinesLog(path) as log:
        for number in range(1, 2001):
            log.add(number, {})
        assert log._keys.nbytes + log._offsets.nbytes <= 16 * 2000
        assert len(log._recent) < jsonl.RECENT
        assert np.array_equal(log._keys, np.arange(1, len(log._keys) + 1))


@pytest.mark.parametrize(
    "parts", [(), ("",), ("a", "b"), ("a, b",), ('"\\\n\x7f', 1, None), ("ä猫\u2028\udcff", ("x", 2))]
)
def test_key_is_the_blake2b_of_the_parts_as_json(parts):
    """Log files store the keys: the hash must not change."""
    text = json.dumps([str(part) for part in parts])
    assert f"{key_of(*parts):016x}" == hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def test_key_depends_on_the_boundaries_of_parts():
    assert key_of("a", "bc") != key_of("ab", "c")
    assert key_of("a", 1) == key_of("a", 1) > 0
