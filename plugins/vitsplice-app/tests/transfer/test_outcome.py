"""What the page shows of runs that have ended."""

import json
import zipfile
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from vitsplice_app.live import Progress, loss_curves
from vitsplice_app.transfer import outcome, running
from vitsplice_app.transfer.history import Session

from tests.conftest import write_pair
from vitsplice.cli import main
from vitsplice.engine.values import Step
from vitsplice.metrics.values import MetricValue
from vitsplice.presets.settings import settings_for
from vitsplice.runs.artifacts import RunFolder, losses_csv

METRICS = [
    asdict(MetricValue("lab-patches", 0.1234, against="appearance", leakage="term", unchanged=0.5)),
    asdict(MetricValue("cnn-statistics", None, "no weights", leakage="none")),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs: one of 38x32 px, and one of another size that was stopped after one step. Both get two metrics."""
    folder = tmp_path_factory.mktemp("runs")
    sources = dict(zip(("structure", "appearance"), write_pair(folder), strict=True))
    session = Session()
    for name, overrides, stopped in (("one", ["optimiser.lr=0.01"], False), ("two", ["size=24"], True)):
        settings = settings_for("tiny", overrides=overrides)
        run = session.new_run(folder / name, settings, sources)
        list(running.begin(run, lambda stopped=stopped: stopped))
        session.keep(run)
        record = run.folder.record() | {"metrics": METRICS}
        (run.path / "run.json").write_text(json.dumps(record))
    return session.runs


@pytest.mark.slow
def test_summary_has_preset_steps_and_time(runs):
    assert outcome.summary(runs[0]).startswith("run 1: tiny, 5 steps, ")
    assert outcome.summary(runs[1]).startswith("run 2: tiny, stopped after 1 of 5 steps, ")


def test_images_of_one_run_are_structure_and_output_in_one_size(runs):
    (before, after), label = outcome.before_and_after(runs[:1])
    assert before.size == after.size == (38, 32)
    assert label == "structure image | output"


def test_images_of_two_runs_are_their_outputs_in_one_size(runs):
    (before, after), label = outcome.before_and_after(runs)
    assert before.size == after.size == (29, 24)
    assert label == "run 1 | run 2"


def test_metrics_of_one_run_are_beside_those_of_the_unchanged_image(runs):
    page = outcome.metrics_html(runs[:1])
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("metric", "output", "unchanged", "compared with"))
    assert f"<caption>lower is better; unchanged: the structure image</caption><thead><tr>{heads}</tr>" in page
    cells = "<td>0.123</td><td>0.5</td><td>appearance image</td>"
    assert f"lab-patches<small>like a loss term</small></th>{cells}" in page
    assert "cnn-statistics<small>not measured: no weights</small></th><td>-</td><td>-</td>" in page


def test_metrics_of_two_runs_are_compared(runs):
    page = outcome.metrics_html(runs)
    assert "<caption>lower is better</caption>" in page
    assert '<th scope="col">run 1</th><th scope="col">run 2</th><th scope="col">compared with</th>' in page


@pytest.mark.slow
def test_download_holds_what_the_command_needs_to_repeat_the_run(runs, tmp_path, monkeypatch):
    path = outcome.zip_run(runs[0], tmp_path)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "one"
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {"output.png", "run.json", "run.yaml", "losses.csv", "images/structure/structure.png"} <= files
    assert not any(name.endswith(".lock") for name in files)
    command, code = outcome.repeat_code(runs[0])
    monkeypatch.chdir(folder)
    assert main(command.split()[1:]) == 0
    for name in ("output.png", "losses.csv", "run.yaml", "previews/step-000000.png", "previews/step-000004.png"):
        again = (folder / "again" / name).read_bytes()
        assert again == (runs[0].path / name).read_bytes() == (folder / name).read_bytes(), name
    assert "--set optimiser.lr=0.01" in command
    assert "overrides=['optimiser.lr=0.01']" in code


def test_zip_file_that_is_being_downloaded_is_not_changed_by_the_next(tmp_path):
    run = SimpleNamespace(path=tmp_path / "run")
    run.path.mkdir()
    path = outcome.zip_run(run, tmp_path)
    before = path.read_bytes()
    with path.open("rb") as download:
        (run.path / "output.png").touch()
        outcome.zip_run(run, tmp_path)
        assert download.read() == before
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["run/output.png"]
    assert {file.name for file in tmp_path.iterdir()} == {"run", path.name}


def test_files_that_disappear_and_temporary_files_are_not_in_the_zip_file(tmp_path, monkeypatch):
    run = SimpleNamespace(path=tmp_path / "run")
    (run.path / "checkpoint").mkdir(parents=True)
    for name in ("output.png", "checkpoint/step-1.json", ".0123456789abcdef.tmp", ".lock"):
        (run.path / name).touch()
    listed_files = outcome._files_to_download

    def removed_after_listing(run):
        files = listed_files(run)
        (run.path / "checkpoint" / "step-1.json").unlink()
        return files

    monkeypatch.setattr(outcome, "_files_to_download", removed_after_listing)
    with zipfile.ZipFile(outcome.zip_run(run, tmp_path)) as archive:
        assert archive.namelist() == ["run/output.png"]


def test_notes_are_escaped():
    assert outcome.notes_html(["<b>", "no checkpoint"]) == (
        '<p class="note">&lt;b&gt;</p><p class="note">no checkpoint</p>'
    )
    assert outcome.notes_html([]) == ""


def test_settings_are_those_that_were_used(runs):
    assert "name: tiny-vit\n" in outcome.resolved_settings(runs[0])


def test_losses_are_read_from_the_folder(runs):
    page = outcome.losses_html(runs[0])
    assert page.count("<svg") == len(runs[0].settings.terms) + 1  # and the total
    assert 'aria-label="total: ' in page


def test_losses_include_terms_that_the_requested_settings_lack(tmp_path):
    steps = [Step(0, 1.0, {"structure": 1.0}), Step(1, 1.0, {"structure": 1.0, "=x": 2.0})]
    (tmp_path / "losses.csv").write_text(losses_csv(steps, ["structure", "=x"]))
    page = outcome.losses_html(SimpleNamespace(folder=RunFolder(tmp_path)))
    assert page.count("<svg") == 3  # two terms and the total
    assert '<th scope="row">=x</th>' in page


def test_curve_of_one_step_or_of_negative_values_is_drawn():
    history = [Step(0, 1.0, {"a": -1.0}), Step(1, 2.0, {"a": 0.0})]
    page = loss_curves(history, ["a"])
    assert "nan" not in page.lower()
    assert page.count('<polyline points="0.0,28.0 160.0,0.0"/>') == 2  # rising lines, of the term and of the total
    assert loss_curves(history[:1], ["a"]).count("<svg") == 2
    assert loss_curves([], ["a"]) == ""


def test_progress_escapes_names_and_notes():
    state = Progress("optimising", 3, 10, 4.2, history=[Step(0, 1.0, {"<a>": 1.0})], terms=["<a>"], notes=["<b>"])
    page = state.html()
    assert "optimising, 3 of 10 steps, ETA 4 s" in page
    assert '<progress aria-label="steps" max="10" value="3">' in page
    assert '<progress aria-label="parts" max="2" value="1">' in Progress("comparing", 1, 2, unit="parts").html()
    assert "&lt;a&gt;" in page
    assert "&lt;b&gt;" in page
    assert "<a>" not in page
    assert "<b>" not in page
