import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from vitsplice.errors import OutputBusy, OutputExists, PathRejected, UserError, VitspliceError
from vitsplice.support.folder_lock import LOCK
from vitsplice.support.output_folder import check, create
from vitsplice.support.resumable_work import ResumableWork, adopt_plan, other_format, resumable

WORK = ResumableWork("baking", "plan.json", parts=("parts.jsonl",), results=("summary.md",), part_keys=("flour",))
PLAN = {"flour": "rye", "guests": [1, 2]}


def files(path):
    return sorted(file.name for file in path.iterdir())


@pytest.mark.parametrize("name", ["a\0b", "a\0b/out"])
def test_output_folder_with_a_nul_is_refused(tmp_path, name):
    def resume(path):
        with resumable(path, WORK, PLAN, force=True):
            pass

    for use in (lambda path: check(path, (), "a page", force=True), create, resume):
        with pytest.raises(UserError, match=r"'.*a\\x00b.*' has a NUL character, which no file name can have"):
            use(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_same_plan_resumes_with_finished_parts(tmp_path):
    for _ in range(2):
        with resumable(tmp_path / "out", WORK, PLAN, force=False) as path:
            (path / "parts.jsonl").touch()
    assert json.loads((path / "plan.json").read_text()) == PLAN
    assert files(path) == ["parts.jsonl", "plan.json"]


@pytest.mark.parametrize("failing", [True, False])
def test_deferred_work_leaves_what_it_replaces_until_it_adopts_its_plan(tmp_path, failing):
    work, other = replace(WORK, deferred=True), PLAN | {"flour": "oat"}
    with resumable(tmp_path, work, PLAN, force=False):
        for name in ("parts.jsonl", "summary.md"):
            (tmp_path / name).write_text("rye")
    with suppress(UserError), resumable(tmp_path, work, other, force=True):
        assert files(tmp_path) == [LOCK, "parts.jsonl", "plan.json", "summary.md"]
        if failing:
            raise UserError("no oats")
        assert adopt_plan(tmp_path, work, other)
    assert files(tmp_path) == (["parts.jsonl", "plan.json", "summary.md"] if failing else ["plan.json"])
    assert json.loads((tmp_path / "plan.json").read_text()) == (PLAN if failing else other)


@pytest.mark.parametrize(("key", "stays"), [("flour", False), ("guests", True)])
def test_another_plan_is_refused_and_force_preserves_only_valid_parts(tmp_path, key, stays):
    with resumable(tmp_path / "out", WORK, PLAN, force=False) as path:
        (path / "parts.jsonl").touch()
    other = PLAN | {key: "another"}
    with (
        pytest.raises(OutputExists, match=f"another baking: it differs in {key}"),
        resumable(path, WORK, other, force=False),
    ):
        pass
    assert json.loads((path / "plan.json").read_text()) == PLAN
    (path / "summary.md").touch()
    with resumable(path, WORK, PLAN, force=False):
        assert (path / "summary.md").exists()
    with resumable(path, WORK, other, force=True):
        assert (path / "parts.jsonl").exists() is stays
        assert not (path / "summary.md").exists()
    assert json.loads((path / "plan.json").read_text()) == other


def test_parts_without_part_keys_depend_on_all_of_the_plan(tmp_path):
    work = replace(WORK, part_keys=())
    for guests in (PLAN["guests"], "another"):
        with resumable(tmp_path, work, PLAN | {"guests": guests}, force=True) as path:
            (path / "parts.jsonl").touch()
    with resumable(tmp_path, work, PLAN, force=True):
        assert not (path / "parts.jsonl").exists()


@pytest.mark.parametrize("value", ["rice", None])
def test_plan_with_a_further_key_is_another_plan(tmp_path, value):
    work = replace(WORK, part_keys=())
    with resumable(tmp_path, work, PLAN | {"yeast\n": value}, force=False) as path:
        (path / "parts.jsonl").touch()
    with (
        pytest.raises(OutputExists, match=r"another baking: it differs in yeast\\n; choose"),
        resumable(tmp_path, work, PLAN, force=False),
    ):
        pass
    with resumable(tmp_path, work, PLAN, force=True):
        assert not (path / "parts.jsonl").exists()


def test_work_that_fails_before_it_writes_content_can_begin_again_with_another_plan_beside_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("flour is in the cellar")
    os.utime(tmp_path / "notes.txt", (0, 0))
    work = replace(WORK, parts=("parts.jsonl", "shards"), results=("cake",))

    def fail(plan):
        with resumable(tmp_path, work, plan, force=False) as path:
            (path / "parts.jsonl").touch()
            (path / "shards").mkdir()
            (path / "cake").mkdir()
            raise VitspliceError("no flour")

    for plan in (PLAN, PLAN | {"flour": "another"}):
        with pytest.raises(VitspliceError, match="no flour"):
            fail(plan)
    assert files(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("error", [VitspliceError, RuntimeError])
@pytest.mark.parametrize("written", [False, True])
def test_work_that_fails_leaves_its_plan_only_if_it_wrote_a_file_with_content(tmp_path, written, error):
    def fail():
        with resumable(tmp_path, WORK, PLAN, force=False) as path:
            (path / "folder").mkdir(exist_ok=True)
            (path / "folder" / "log.jsonl").touch()
            if written:
                (path / "folder" / "part").write_text("a part")
            raise error("no flour")

    with pytest.raises(error, match="no flour"):
        fail()
    assert (tmp_path / "plan.json").exists() is written


def test_failure_of_work_whose_folder_was_removed_is_not_hidden(tmp_path):
    def fail():
        with resumable(tmp_path / "out", WORK, PLAN, force=False) as path:
            shutil.rmtree(path)
            raise VitspliceError("no flour")

    with pytest.raises(VitspliceError, match="no flour"):
        fail()


@pytest.mark.parametrize("existed", [False, True])
def test_a_folder_of_work_that_fails_at_its_start_remains_only_if_it_existed(tmp_path, existed):
    folder = tmp_path / "out"
    if existed:
        folder.mkdir()

    def fail():
        with resumable(folder, WORK, PLAN, force=False) as path:
            (path / "parts.jsonl").touch()
            raise VitspliceError("no flour")

    with pytest.raises(VitspliceError, match="no flour"):
        fail()
    assert folder.exists() is existed


def test_work_that_fails_at_its_start_leaves_no_new_parent_folders(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(VitspliceError), resumable(tmp_path / "old" / "new" / "out", WORK, PLAN, force=False):
        raise VitspliceError("no flour")
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]


def test_work_that_fails_keeps_the_parts_that_its_plan_shares_with_an_earlier_one(tmp_path):
    with resumable(tmp_path, WORK, PLAN, force=False):
        (tmp_path / "parts.jsonl").write_text("a part")
    os.utime(tmp_path / "parts.jsonl", (0, 0))
    other = PLAN | {"guests": "another"}
    for force in (True, False):
        with pytest.raises(VitspliceError), resumable(tmp_path, WORK, other, force=force):
            raise VitspliceError("no flour")
        assert (tmp_path / "parts.jsonl").read_text() == "a part"


def test_resumed_work_that_fails_keeps_its_plan(tmp_path):
    with resumable(tmp_path, WORK, PLAN, force=False):
        pass
    with pytest.raises(VitspliceError), resumable(tmp_path, WORK, PLAN, force=False):
        raise VitspliceError("no flour")
    assert (tmp_path / "plan.json").exists()


@pytest.mark.parametrize("text", ["[", "[]"])
def test_plan_that_cannot_be_read_is_refused(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(OutputExists, match=r"plan\.json cannot be read"), resumable(tmp_path, WORK, PLAN, force=False):
        pass


def test_plan_in_another_format_names_the_version_that_wrote_it(tmp_path):
    versions = {"vitsplice": "0.0.9", "torch": "2"}
    with resumable(tmp_path, WORK, PLAN | {"format": 1, "versions": versions}, force=False):
        pass
    message = "it was written by vitsplice 0.0.9 in format 1; this version reads format 2"
    with pytest.raises(OutputExists, match=message), resumable(tmp_path, WORK, PLAN | {"format": 2}, force=False):
        pass


@pytest.mark.parametrize("record", [{}, {"format": "\x1b"}, {"format": 1, "versions": []}])
def test_record_in_another_format_is_reported_even_if_it_names_no_version(record):
    assert "by another version of vitsplice in format" in other_format(record, 2)
    assert other_format(record, 2).isprintable()
    assert other_format(record | {"format": 2}, 2) == ""


@pytest.mark.parametrize("name", ["parts.jsonl", "summary.md"])
def test_unrelated_files_with_the_names_of_parts_or_results_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExists, match=name), resumable(tmp_path, WORK, PLAN, force=False):
        pass
    assert files(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"
    with pytest.raises(UserError, match="is a file"), resumable(tmp_path / name, WORK, PLAN, force=True):
        pass


def test_folder_with_the_name_of_a_part_is_not_removed(tmp_path):
    (tmp_path / "plan.json").write_text("[")
    (tmp_path / "parts.jsonl" / "mine").mkdir(parents=True)
    with resumable(tmp_path, WORK, PLAN, force=True):
        assert (tmp_path / "parts.jsonl" / "mine").exists()


@pytest.mark.parametrize("name", ["parts.jsonl", ".0123456789abcdef.tmp"])
def test_part_or_temporary_file_that_cannot_be_removed_is_an_error(tmp_path, monkeypatch, name):
    (tmp_path / name).touch()
    plain = Path.unlink

    def unlink(path, missing_ok=False):
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        plain(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    with (
        pytest.raises(VitspliceError, match=rf"cannot remove .*{re.escape(name)}: Permission denied"),
        resumable(tmp_path, WORK, PLAN, force=True),
    ):
        pass


def test_locked_folder_is_refused_and_not_changed(tmp_path):
    with (
        resumable(tmp_path / "out", WORK, PLAN, force=False) as path,
        pytest.raises(OutputBusy),
        resumable(path, WORK, {"flour": "oat", "guests": []}, force=True),
    ):
        pass
    assert json.loads((path / "plan.json").read_text()) == PLAN


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["/../../x", "../{}/run", "run/../../x", "a\0b"])
def test_result_outside_of_the_folder_is_refused_and_not_removed(tmp_path, victim, name, force):
    work = ResumableWork("baking", "plan.json", results=(name.format(victim.name),))
    for folder in (tmp_path / "out", victim.parent / "out"):
        with pytest.raises(PathRejected), resumable(folder, work, PLAN, force=force):
            pass


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["plan.json", "parts.jsonl", "summary.md", ".lock"])
def test_symbolic_link_out_of_the_folder_is_refused(tmp_path, victim, name, force):
    with resumable(tmp_path / "out", WORK, PLAN, force=False) as path:
        (path / name).unlink(missing_ok=True)
        (path / name).symlink_to(victim / "values.jsonl")
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(victim / "values.jsonl")  # the end of the work removed a link named .lock
    with pytest.raises(PathRejected, match="leads out of"), resumable(path, WORK, PLAN | {"flour": 1}, force=force):
        pass


def test_folder_with_a_name_that_is_too_long_is_refused(tmp_path):
    with (
        pytest.raises(UserError, match="cannot create the folder .*; choose another"),
        resumable(tmp_path / "new" / ("x" * 300), WORK, PLAN, force=False),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
