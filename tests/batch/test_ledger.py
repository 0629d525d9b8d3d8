import json
import time
from dataclasses import replace

import pytest

from vitsplice.batch.ledger import Ledger
from vitsplice.batch.plan import RESULTS, folder
from vitsplice.contracts import Job
from vitsplice.errors import VitspliceError


def job(number, structure="s.png"):
    return Job(f"quick/pair-{number}", "/f", {"structure": f"/x/{structure}", "appearance": "/x/a.png"}, "{}", 1, "")


def told(**facts):
    images = {"structure": "/x/s.png", "appearance": "/x/a.png"}
    return {"images": images, "seconds": 1.5, "metrics": {"f": 0.25}, **facts}


def with_folders(out, *numbers):
    for number in numbers:
        (out / folder("quick", f"pair-{number}")).mkdir(parents=True, exist_ok=True)
    return out


def test_what_was_added_is_known_when_opened_again(tmp_path):
    with_folders(tmp_path, 1)
    with Ledger(tmp_path) as ledger:
        assert job(1) not in ledger
        ledger.add(job(1), told())
    with Ledger(tmp_path) as ledger:
        assert job(1) in ledger
        assert job(2) not in ledger
        assert replace(job(1), id="best/pair-1") not in ledger
        assert job(1, structure="other.png") not in ledger
    (line,) = map(json.loads, (tmp_path / RESULTS).read_text().splitlines())
    assert line["id"] == "pair-1"
    assert line["variant"] == "quick"
    assert line["folder"].startswith("quick/")
    assert line["metrics"] == {"f": 0.25}


def test_images_elsewhere_are_others_until_that_is_looked_into(tmp_path):
    """Then the run has a new line, and the old one goes."""
    with_folders(tmp_path, 1)
    moved = replace(job(1), images={"appearance": "/y/a.png", "structure": "/y/s.png"})
    with Ledger(tmp_path) as ledger:
        ledger.add(job(1), told())
    with Ledger(tmp_path) as ledger:
        assert moved not in ledger
        ledger.add(moved, told(images=moved.images))
    assert len((tmp_path / RESULTS).read_text().splitlines()) == 1
    with Ledger(tmp_path) as ledger:
        assert moved in ledger
        assert job(1) not in ledger
    (line,) = (tmp_path / RESULTS).read_text().splitlines()
    assert json.loads(line)["images"] == moved.images


def test_a_run_whose_folder_is_gone_is_not_done(tmp_path):
    with_folders(tmp_path, 1, 2)
    with Ledger(tmp_path) as ledger:
        for number in (1, 2):
            ledger.add(job(number), told())
    (tmp_path / folder("quick", "pair-1")).rmdir()
    with Ledger(tmp_path) as ledger:
        assert [job(number) in ledger for number in (1, 2)] == [False, True]
    (line,) = (tmp_path / RESULTS).read_text().splitlines()
    assert json.loads(line)["id"] == "pair-2"


@pytest.mark.parametrize(
    "junk", ['{"id": "pair-3", "vari', "", "\n", "null\n", "\x00\x00\n", '{"id": 1}\n', "[" * 9000]
)
def test_a_file_cut_short_or_spoilt_loses_only_those_lines(tmp_path, junk):
    path = with_folders(tmp_path, 1, 2, 5) / RESULTS
    with Ledger(tmp_path) as ledger:
        for number in (1, 2):
            ledger.add(job(number), told())
    first, second = path.read_text().splitlines(keepends=True)
    path.write_text(first + junk + ("" if not junk.endswith("\n") else second))
    with Ledger(tmp_path) as ledger:
        assert job(1) in ledger
        assert (job(2) in ledger) == junk.endswith("\n")
        ledger.add(job(5), told())
    assert all(json.loads(line)["variant"] == "quick" for line in path.read_text().splitlines())
    assert {p.name for p in tmp_path.iterdir()} == {RESULTS, "quick"}


def test_a_line_without_its_end_is_none(tmp_path):
    with_folders(tmp_path, 1)
    with Ledger(tmp_path) as ledger:
        ledger.add(job(1), told())
    path = tmp_path / RESULTS
    path.write_text(path.read_text().rstrip("\n"))
    with_folders(tmp_path, 1)
    with Ledger(tmp_path) as ledger:
        assert job(1) not in ledger
        ledger.add(job(1), told())
    assert len(path.read_text().splitlines()) == 1


def test_ten_thousand_are_known_in_seconds(tmp_path):
    with_folders(tmp_path, *range(10_000))
    with Ledger(tmp_path) as ledger:
        for number in range(10_000):
            ledger.add(job(number), told())
    began = time.perf_counter()
    with Ledger(tmp_path) as ledger:
        assert all(job(number) in ledger for number in range(10_000))
        assert job(10_000) not in ledger
    assert time.perf_counter() - began < 3


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_told(tmp_path):
    def fill():
        with Ledger(tmp_path) as ledger:
            for number in range(1000):
                ledger.add(job(number), told())

    with pytest.raises(VitspliceError, match=r"cannot use .*results\.jsonl: "):
        fill()
