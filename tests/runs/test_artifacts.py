import csv
import io

import pytest
import torch

from vitsplice.engine.values import Step
from vitsplice.errors import OutputBusy, OutputExists, UserError
from vitsplice.runs.artifacts import RunFolder, losses_csv
from vitsplice.support.folder_lock import FolderLock

STEPS = [Step(0, 3.5, {"a": 1.0}), Step(1, 0.1 + 0.2, {"a": 0.5, "b-entire": 2.0})]


def test_losses_csv_has_exact_values_and_empty_cells_for_inactive_terms():
    rows = list(csv.reader(io.StringIO(losses_csv(STEPS, ["a", "b-entire"]))))
    assert rows == [
        ["step", "total", "a", "b-entire"],
        ["0", "3.5", "1.0", ""],
        ["1", repr(0.1 + 0.2), "0.5", "2.0"],
    ]


@pytest.mark.parametrize(
    "text", ["step,loss\n0,1\n", "step,total,a\n0\n", "step,total,a\n0,x,1\n", "step,total\n0,1,2\n", "other\n1\n"]
)
def test_corrupt_losses_are_refused(tmp_path, text):
    (tmp_path / "losses.csv").write_text(text)
    with pytest.raises(UserError, match=r"losses\.csv is corrupt"):
        RunFolder(tmp_path).losses()


def test_force_accepts_a_run_and_clear_removes_only_its_artifacts(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_preview(2, torch.zeros(3, 20, 20))
    folder.output.write_bytes(b"old")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "previews" / "mine.png").write_text("mine")
    (tmp_path / "previews" / "step-best.png").write_text("mine")
    assert folder.previews() == [(2, tmp_path / "previews" / "step-000002.png")]
    with pytest.raises(OutputExists, match="force=True"):
        RunFolder.check(tmp_path)
    RunFolder.check(tmp_path, force=True).clear()
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {"notes.txt", "previews/mine.png", "previews/step-best.png"}


def test_check_does_not_create_the_folder(tmp_path):
    RunFolder.check(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_file_in_place_of_the_output_folder_is_refused(tmp_path):
    (tmp_path / "f").write_text("")
    for path in (tmp_path / "f", tmp_path / "f" / "below"):
        with pytest.raises(UserError, match="output folder"):
            RunFolder.check(path)


def test_files_named_like_those_of_a_run_are_listed_if_there_is_no_run(tmp_path):
    for name in ("output.png", "report.html"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExists, match=r"names of a run's files \(output.png, report.html\).* replace them with"):
        RunFolder.check(tmp_path)


def test_folder_whose_name_is_too_long_holds_no_run(tmp_path):
    folder = RunFolder(tmp_path / ("x" * 300))
    assert not folder.has_begun()
    with pytest.raises(UserError, match="does not exist; resume takes the folder of a run"):
        folder.inputs()


def test_error_distinguishes_a_run_in_progress_from_an_unfinished_one(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_inputs({})
    with FolderLock(tmp_path):
        with pytest.raises(OutputBusy, match="another process is writing"):
            RunFolder.check(tmp_path)
        with pytest.raises(OutputExists, match="unfinished run"):
            RunFolder.check(tmp_path, locked=True)
    with pytest.raises(OutputExists, match="resume it with resume=.*force=True"):
        RunFolder.check(tmp_path)


def test_folder_with_the_name_of_a_preview_is_not_a_preview(tmp_path):
    (tmp_path / "previews" / "step-000001.png").mkdir(parents=True)
    assert RunFolder(tmp_path).previews() == []


def test_image_that_is_a_file_of_the_run_is_refused_also_through_a_link(tmp_path):
    folder = RunFolder(tmp_path / "out")
    folder.path.mkdir()
    folder.output.write_bytes(b"image")
    (tmp_path / "link.png").symlink_to(folder.output)
    (folder.path / "mine.png").write_bytes(b"image")
    folder.check_inputs([folder.path / "mine.png"])
    for path in (folder.output, tmp_path / "link.png"):
        with pytest.raises(UserError, match="is an output file in .*; move it, or choose another"):
            folder.check_inputs([path])
