"""Results in a folder: kinds, states, dates, damaged results, links."""

import os
from datetime import datetime

import pytest

from tests.conftest import write_pair
from vitsplice import results
from vitsplice.batch.plan import BATCH, RESULTS, open_batch, variants
from vitsplice.datasets import Pair, write
from vitsplice.errors import UserError
from vitsplice.evaluation.plan import Method
from vitsplice.results import MAX_DEPTH, find_results
from vitsplice.study.build import StudySettings, build_study
from vitsplice.support.folder_lock import FolderLock


def write_files(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name).write_text(text)
    return folder


def write_evaluation(folder):
    return write_files(folder, {"evaluate.json": '{"format": 3}', "gallery.html": "<p>gallery</p>"})


def write_batch(folder, pairs=2):
    folder.mkdir(parents=True)
    open_batch(folder, folder / "pairs.csv", variants(["tiny"]), 1, pairs)
    return folder


def write_study(folder):
    folder.mkdir(parents=True)
    structure, appearance = write_pair(folder)
    write(folder / "pairs.csv", [Pair("one", structure, appearance)])
    for method in ("a", "b"):
        (folder / method).mkdir()
        (folder / method / "one.png").write_bytes(structure.read_bytes())
    methods = [Method(name, folder / name) for name in ("a", "b")]
    build_study(folder / "pairs.csv", methods, StudySettings(checks=0)).write(folder / "study.html")
    return folder


def states(root):
    return {result.name: (result.kind, result.state, result.page) for result in find_results(root)}


def test_result_of_every_kind_is_found_with_its_page_and_left_unchanged(tmp_path):
    write_evaluation(tmp_path / "a")
    write_files(tmp_path / "b" / "c", {"compare.json": '{"format": 2}', "report.html": "<p>report</p>"})
    write_batch(tmp_path / "d")
    write_study(tmp_path / "e")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert states(tmp_path) == {
        "a": ("evaluation", "finished", "gallery.html"),
        "b/c": ("comparison", "finished", "report.html"),
        "d": ("batch", "unfinished", ""),
        "e": ("study", "finished", "study.html"),
    }
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_searched_folder_may_be_a_result_itself(tmp_path):
    write_evaluation(tmp_path)
    assert states(tmp_path) == {".": ("evaluation", "finished", "gallery.html")}


def test_results_are_sorted_by_date_the_newest_first(tmp_path):
    for name, seconds in (("old", 1e9), ("new", 1.2e9), ("middle", 1.1e9)):
        for path in write_evaluation(tmp_path / name).iterdir():
            os.utime(path, (0, seconds))
    results = find_results(tmp_path)
    assert [result.name for result in results] == ["new", "middle", "old"]
    assert results[0].date.timestamp() == 1.2e9


def test_evaluation_is_running_while_locked_and_unfinished_without_its_page(tmp_path):
    folder = write_evaluation(tmp_path / "a")
    (folder / "gallery.html").unlink()
    with FolderLock(folder):
        assert states(tmp_path) == {"a": ("evaluation", "running", "")}
    assert states(tmp_path) == {"a": ("evaluation", "unfinished", "")}


def test_batch_is_finished_when_every_run_has_ended(tmp_path):
    folder = write_batch(tmp_path / "a", pairs=1)
    assert states(tmp_path)["a"][1] == "unfinished"
    (folder / RESULTS).write_text('{"id": "x", "variant": "tiny", "folder": "y"}\n')
    assert states(tmp_path)["a"][1] == "finished"


def test_batch_with_more_runs_than_pairs_in_the_manifest_is_not_finished(tmp_path):
    folder = write_batch(tmp_path / "a", pairs=1)
    (folder / RESULTS).write_text("".join(f'{{"id": "{name}", "variant": "tiny", "folder": "y"}}\n' for name in "xz"))
    assert states(tmp_path)["a"][1] == "unfinished"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 99}', "\x00\xff", "[" * 10_000])
def test_damaged_results_are_listed_with_the_reason(tmp_path, content):
    write_files(tmp_path / "a", {"batch.json": content})
    write_files(tmp_path / "b", {"study.plan.json": content})
    write_evaluation(tmp_path / "c")
    results = {result.name: result for result in find_results(tmp_path)}
    assert [(results[name].kind, results[name].state) for name in "ab"] == [("batch", "damaged"), ("study", "damaged")]
    assert all(results[name].problem for name in "ab")
    assert results["c"].state == "finished"


def test_study_without_its_page_is_damaged(tmp_path):
    (write_study(tmp_path / "a") / "study.html").unlink()
    (result,) = find_results(tmp_path)
    assert (result.state, result.problem) == ("damaged", "the page of the study, study.html, is missing")


def test_page_of_a_study_may_end_in_htm_and_hidden_plans_are_ignored(tmp_path):
    folder = write_study(tmp_path / "a")
    (folder / "study.html").rename(folder / "study.htm")
    (folder / "._study.plan.json").write_bytes(b"\x00")
    assert states(tmp_path) == {"a": ("study", "finished", "study.htm")}
    assert len(find_results(tmp_path)) == 1


@pytest.mark.parametrize("name", ["study.HTML", "study"])
def test_suffix_of_a_study_page_may_be_in_upper_case_or_missing(tmp_path, name):
    folder = write_study(tmp_path / "a")
    (folder / "study.html").rename(folder / name)
    assert states(tmp_path) == {"a": ("study", "finished", name)}


def test_folder_with_the_name_of_a_study_is_not_its_page(tmp_path):
    folder = write_study(tmp_path / "a")
    (folder / "study.html").unlink()
    (folder / "study").mkdir()
    (result,) = find_results(tmp_path)
    assert result.problem == "the page of the study, study.html, is missing"


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    outside, root = write_evaluation(tmp_path / "outside"), tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(outside)
    assert find_results(root) == []
    for name in ("evaluate.json", "gallery.html"):
        folder = write_evaluation(root / name.replace(".", "-"))
        (folder / name).unlink()
        (folder / name).symlink_to(outside / name)
    results = find_results(root)
    assert [result.state for result in results] == ["damaged"] * 2
    assert all("leads out of" in result.problem and not result.page for result in results)


def test_hidden_folders_deep_folders_and_subfolders_of_an_evaluation_are_not_searched(tmp_path):
    write_evaluation(write_evaluation(tmp_path / "a") / "inner")
    write_evaluation(tmp_path / ".hidden")
    write_evaluation(tmp_path.joinpath(*"12345"))
    write_evaluation(tmp_path.joinpath(*"123", "deepest"))
    assert MAX_DEPTH == 4
    assert states(tmp_path).keys() == {"a", "1/2/3/deepest"}


@pytest.mark.parametrize("name", ["a\u3000b", "Screen\u202fshot", "a:1", "x\\y", "a\x1b[31m", os.fsdecode(b"a\xff")])
def test_any_name_of_a_folder_is_allowed(tmp_path, name):
    write_evaluation(tmp_path / name)
    assert states(tmp_path) == {name: ("evaluation", "finished", "gallery.html")}


def test_marker_that_is_no_regular_file_is_a_damaged_result(tmp_path):
    os.mkfifo(tmp_path / "evaluate.json")
    (result,) = find_results(tmp_path)
    assert result.state == "damaged"
    assert "is not a regular file; remove it" in result.problem


def test_dates_are_at_most_the_latest_that_every_system_supports(tmp_path, monkeypatch):
    write_evaluation(tmp_path)
    assert datetime.fromtimestamp(results.LATEST).year in (2999, 3000)
    monkeypatch.setattr(results, "LATEST", 1e9)
    (result,) = find_results(tmp_path)
    assert result.date.timestamp() == 1e9


def test_folder_with_a_nul_is_refused():
    with pytest.raises(UserError, match="has a NUL character, which no file name can have"):
        find_results("a\0")


@pytest.mark.parametrize(
    ("name", "problem"), [("missing", "missing does not exist"), (BATCH, f"cannot read .*{BATCH}")]
)
def test_folder_that_does_not_exist_or_is_a_file_is_reported(tmp_path, name, problem):
    (tmp_path / BATCH).write_text("{}")
    with pytest.raises(UserError, match=problem):
        find_results(tmp_path / name)
