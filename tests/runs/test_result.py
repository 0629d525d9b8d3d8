import pytest
import torch
from PIL import Image

import vitsplice
from vitsplice.errors import OutputExists, UserError
from vitsplice.presets.settings import settings_for
from vitsplice.runs import result
from vitsplice.runs.artifacts import RECORD, RunFolder
from vitsplice.runs.result import Result
from vitsplice.support.folder_lock import FolderLock


def black_result(plots="none", input_paths=()):
    settings = settings_for("tiny", overrides=[f"plots={plots}"])
    record = {"inputs": {"structure": {"name": "structure.png"}}, "masks": {}}
    return Result(torch.zeros(3, 4, 4), (), settings, record, finished=True, input_paths=input_paths)


def test_results_can_be_compared_and_hashed():
    first, second = black_result(), black_result()
    assert first == first
    assert first != second
    assert len({first, second}) == 2


def test_run_that_another_process_saves_before_the_lock_is_not_replaced(tmp_path, monkeypatch):
    def lock_after_another_run_is_saved(folder):
        (folder / RECORD).write_text("{}")
        return FolderLock(folder)

    monkeypatch.setattr(result, "FolderLock", lock_after_another_run_is_saved)
    with pytest.raises(OutputExists, match="already holds a run"):
        black_result().save(tmp_path)
    assert (tmp_path / RECORD).read_text() == "{}"


def test_result_that_cannot_be_rendered_replaces_no_run(tmp_path):
    black_result().save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyError):  # the record lacks what the report shows
        black_result(plots="all").save(tmp_path, force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_run_whose_output_is_an_input_is_not_replaced(tmp_path):
    black_result().save(tmp_path)
    before = (tmp_path / "output.png").read_bytes()
    with pytest.raises(UserError, match=r"output\.png is an output file in .*; move it, or choose another"):
        black_result(input_paths=(str(tmp_path / "output.png"),)).save(tmp_path, force=True)
    assert (tmp_path / "output.png").read_bytes() == before
    assert not (tmp_path / ".lock").exists()
    black_result(input_paths=(str(tmp_path / "output.png"),)).save(tmp_path / "another")


@pytest.mark.slow
def test_image_given_by_a_relative_path_is_not_replaced_from_another_working_directory(png, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "output.png").write_bytes(png[0].read_bytes())
    (out / "sub").mkdir()
    (tmp_path / "link").symlink_to(out / "sub")
    monkeypatch.chdir(tmp_path)
    settings = {"preset": "tiny", "steps": 1, "overrides": ["plots=none"]}
    with Image.open(b"out/output.png") as opened:
        structures = ("out/output.png", "link/../output.png", opened)
        results = [vitsplice.splice(structure, png[1], **settings) for structure in structures]
    monkeypatch.chdir("/")
    for each in results:
        with pytest.raises(UserError, match=r"output\.png is an output file"):
            each.save(out, force=True)


def test_writing_records_without_plots_removes_an_earlier_report_and_plot(tmp_path):
    for name in ("report.html", "losses.png"):
        (tmp_path / name).write_text("earlier")
    RunFolder(tmp_path).write_records(black_result())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["losses.csv", "run.json", "run.yaml"]
