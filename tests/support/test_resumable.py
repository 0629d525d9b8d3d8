import json
from pathlib import Path

import pytest

from vitsplice.errors import OutputBusy, OutputExists, PathRejected, UserError, VitspliceError
from vitsplice.support.resumable import Work, kept

WORK = Work("baking", "plan.json", parts=("parts.jsonl",), results=("summary.md",), decisive=("flour",))
WANTED = {"flour": "rye", "guests": [1, 2]}


def files(path):
    return sorted(file.name for file in path.iterdir())


def test_the_same_plan_keeps_what_is_finished(tmp_path):
    for _ in range(2):
        with kept(tmp_path / "out", WORK, WANTED, force=False) as path:
            (path / "parts.jsonl").touch()
    assert json.loads((path / "plan.json").read_text()) == WANTED
    assert files(path) == ["parts.jsonl", "plan.json"]


@pytest.mark.parametrize(("entry", "stays"), [("flour", False), ("guests", True)])
def test_another_plan_is_refused_and_forced_keeps_only_parts_that_still_hold(tmp_path, entry, stays):
    with kept(tmp_path / "out", WORK, WANTED, force=False) as path:
        (path / "parts.jsonl").touch()
    other = WANTED | {entry: "another"}
    with (
        pytest.raises(OutputExists, match=f"another baking: it differs in {entry}"),
        kept(path, WORK, other, force=False),
    ):
        pass
    assert json.loads((path / "plan.json").read_text()) == WANTED
    (path / "summary.md").touch()
    with kept(path, WORK, WANTED, force=False):
        assert (path / "summary.md").exists()
    with kept(path, WORK, other, force=True):
        assert (path / "parts.jsonl").exists() is stays
        assert not (path / "summary.md").exists()
    assert json.loads((path / "plan.json").read_text()) == other


@pytest.mark.parametrize("text", ["[", "[]"])
def test_a_plan_that_cannot_be_read_is_another(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(OutputExists, match=r"plan\.json cannot be read"), kept(tmp_path, WORK, WANTED, force=False):
        pass


@pytest.mark.parametrize("name", ["parts.jsonl", "summary.md"])
def test_files_of_something_else_are_not_written_over(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExists, match=name), kept(tmp_path, WORK, WANTED, force=False):
        pass
    assert files(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"
    with pytest.raises(UserError, match="is a file"), kept(tmp_path / name, WORK, WANTED, force=True):
        pass


def test_a_folder_of_that_name_keeps_what_is_of_no_run(tmp_path):
    (tmp_path / "plan.json").write_text("[")
    (tmp_path / "parts.jsonl" / "mine").mkdir(parents=True)
    with kept(tmp_path, WORK, WANTED, force=True):
        assert (tmp_path / "parts.jsonl" / "mine").exists()


def test_what_cannot_be_removed_is_told(tmp_path, monkeypatch):
    plain = Path.unlink

    def unlink(path, missing_ok=False):
        if path.name == "parts.jsonl":
            raise PermissionError(13, "Permission denied", str(path))
        plain(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    with (
        pytest.raises(VitspliceError, match=r"cannot remove .*parts\.jsonl: Permission denied"),
        kept(tmp_path, WORK, WANTED, force=True),
    ):
        pass


def test_one_process_at_a_time_and_nothing_of_the_first_is_touched(tmp_path):
    with (
        kept(tmp_path / "out", WORK, WANTED, force=False) as path,
        pytest.raises(OutputBusy),
        kept(path, WORK, {"flour": "oat", "guests": []}, force=True),
    ):
        pass
    assert json.loads((path / "plan.json").read_text()) == WANTED


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["/../../x", "../{}/run", "run/../../x", "a\0b"])
def test_a_part_that_is_not_in_the_folder_is_refused_and_not_removed(tmp_path, victim, name, force):
    work = Work("baking", "plan.json", results=(name.format(victim.name),))
    for folder in (tmp_path / "out", victim.parent / "out"):
        with pytest.raises(PathRejected), kept(folder, work, WANTED, force=force):
            pass


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["plan.json", "parts.jsonl", "summary.md", ".lock"])
def test_a_link_out_of_the_folder_is_refused(tmp_path, victim, name, force):
    with kept(tmp_path / "out", WORK, WANTED, force=False) as path:
        (path / name).unlink(missing_ok=True)
        (path / name).symlink_to(victim / "values.jsonl")
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(victim / "values.jsonl")
    with pytest.raises(PathRejected, match="leads out of"), kept(path, WORK, WANTED | {"flour": 1}, force=force):
        pass
