import inspect
import json
import signal
import time
from functools import partial

import pytest
import torch
from discs import disc

from vitsplice.analysis.cosegmentation import cosegment
from vitsplice.api import splice
from vitsplice.cli.run import run
from vitsplice.images import encode_png
from vitsplice.presets.settings import settings_for
from vitsplice.runs.recorder import Recording
from vitsplice.support.files import write_atomically

TINY = ("run", "--preset", "tiny")
ONE_STEP = (*TINY, "--steps", "1")


@pytest.fixture
def one_metric(monkeypatch):
    """Measure runs by one metric, which needs no network."""
    monkeypatch.setattr("vitsplice.metrics.RUN_METRICS", ("lab-patches",))


def one_error(done, code):
    """Return the message of a command that failed with this exit code, without output and traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 12
    return done.stderr


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_run_writes_exactly_its_artifacts_and_prints_their_paths(vitsplice, png, tmp_path):
    done = vitsplice(*TINY, *png, "-o", "out", "--set", "plots=all")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/output.png"
    assert "report: out/report.html" in done.stderr
    assert "SUBSTITUTION" in done.stderr
    assert "tiny-vit" in done.stderr
    assert "preview out/previews/step-000004.png" in done.stderr
    out = tmp_path / "out"
    assert {path.relative_to(out).as_posix() for path in out.rglob("*")} == {
        "output.png",
        "run.yaml",
        "run.json",
        "losses.csv",
        "losses.png",
        "report.html",
        "previews",
        "previews/step-000000.png",
        "previews/step-000002.png",
        "previews/step-000004.png",
    }
    record = json.loads((out / "run.json").read_text())
    assert record["substitutions"][0]["used"] == "tiny-vit"
    assert "works at 38x32 px; output 38x32 px" in done.stderr
    assert record["sizes"] == {"working": [{"height": 32, "width": 38}], "output": {"height": 32, "width": 38}}
    assert len((out / "losses.csv").read_text().splitlines()) == 6  # a header and five steps
    assert sorted(p.name for p in tmp_path.iterdir()) == ["appearance.png", "out", "structure.png"]


@pytest.mark.slow
def test_run_yaml_gives_identical_bytes_in_another_process(vitsplice, processes, png, tmp_path):
    assert vitsplice(*TINY, *png, "-o", "a", "--seed", 3).returncode == 0
    assert processes.run(["run", "--preset", tmp_path / "a" / "run.yaml", *png, "-o", "b"], tmp_path).code == 0
    assert (tmp_path / "b" / "output.png").read_bytes() == (tmp_path / "a" / "output.png").read_bytes()


def test_command_and_splice_have_the_same_default_preset():
    default = inspect.signature(run).parameters["preset"].default
    assert default == inspect.signature(splice).parameters["preset"].default


@pytest.mark.slow
def test_existing_run_is_overwritten_only_with_force(vitsplice, png, tmp_path):
    vitsplice(*ONE_STEP, *png, "-o", "out")
    before = (tmp_path / "out" / "output.png").read_bytes()
    refused = vitsplice(*ONE_STEP, *png, "-o", "out", "--seed", 1)
    assert "already holds a run" in one_error(refused, 2)
    assert (tmp_path / "out" / "output.png").read_bytes() == before
    assert vitsplice(*ONE_STEP, *png, "-o", "out", "--seed", 1, "--force").returncode == 0
    assert (tmp_path / "out" / "output.png").read_bytes() != before


@pytest.mark.slow
def test_same_command_after_a_kill_suggests_resume_and_force(vitsplice, png, tmp_path):
    images = {"structure": png[0], "appearance": png[1]}
    Recording.begin(images, settings_for("tiny", steps=1), tmp_path / "out dir").close()
    refused = one_error(vitsplice(*ONE_STEP, *png, "-o", "out dir"), 2)
    assert (
        "holds an unfinished run; resume it with --resume 'out dir', choose another folder, or replace it with"
        in refused
    )
    assert "--force" in refused
    assert vitsplice("run", "--resume", "out dir").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "missing.png", "structure.png"), "missing.png"),
        (("run", "structure.png"), "give STRUCTURE and at least one APPEARANCE"),
        (("run", "--preset", "papper"), "paper"),
        (("run", "--preset", "nowhere.yaml"), "nowhere.yaml"),
        (("run", "--backbone", "dino-vitb9"), "dino-vitb8"),
        (("run", "--preset", "tiny", "--steps", "0"), "steps: 0 is not allowed"),
        (("run", "--stepz", "3"), "--steps"),
        (("run", "--set", "terms.structure.wait=3"), "unknown key"),
        (("run", "--preset", "tiny", "--device", "abacus"), "abacus"),
        (("run", "--preset", "tiny", "-o", "structure.png"), "structure.png"),
        (("rum",), "run"),
        (("presets", "show", "papper"), "paper"),
    ],
)
def test_invalid_arguments_exit_with_2_and_a_short_message(vitsplice, png, arguments, message):
    assert message in one_error(vitsplice(*arguments), 2)


def test_unreachable_weights_exit_with_1_and_suggest_a_weights_file(vitsplice, tmp_path):
    began = time.monotonic()
    error = one_error(
        vitsplice("run", "--backbone", "dino-vits16", HF_HUB_OFFLINE="0", HF_ENDPOINT="http://127.0.0.1:9"), 1
    )
    assert time.monotonic() - began < 15
    assert "backbone.weights=FILE" in error
    assert not (tmp_path / "vitsplice-out").exists()


def test_debug_prints_the_traceback(vitsplice):
    done = vitsplice("run", "--preset", "papper", "--debug")
    assert "Traceback" in done.stderr
    assert "UnknownName" in done.stderr


@pytest.mark.slow
def test_nan_loss_exits_with_1_and_saves_the_last_finite_image(vitsplice, png, tmp_path):
    terms = "terms={structure: {loss: structure, weight: 1}, odd: {loss: nan-at-fourth, weight: 1}}"
    done = vitsplice(*TINY, *png, "-o", "out", "--set", terms)
    assert done.returncode == 1
    assert "term 'odd' became nan at step 4" in done.stderr
    assert "the image is saved" in done.stderr
    assert "resume with" not in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "output.png").is_file()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["finished"] is False


@pytest.mark.kill
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_signal_saves_the_current_image_and_exits_with_130(processes, png, tmp_path, number):
    words = [*TINY, *png, "-o", tmp_path / "out", "--steps", 1_000_000]
    ended = processes.run(words, tmp_path, "step-000002", number)
    assert ended.code == 130
    assert "the image is saved" in ended.stderr
    assert f"resume with: vitsplice run --resume {tmp_path / 'out'}" in ended.stderr
    assert "Traceback" not in ended.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["finished"] is False
    assert 2 <= record["steps"]["taken"] < 1_000_000
    assert (tmp_path / "out" / "output.png").is_file()


@pytest.mark.slow
def test_ctrl_c_before_the_first_step_prints_the_command_that_resumes(vitsplice, png, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vitsplice.runs.saved_inputs.SavedInputs.run", stop)
        done = vitsplice(*ONE_STEP, *png, "-o", "out", "--lut", "a.cube")
        replacing = vitsplice(*ONE_STEP, *reversed(png), "-o", "out", "--force")
    assert done.returncode == replacing.returncode == 130
    assert "resume with: vitsplice run --resume out --lut a.cube\n" in done.stderr
    assert "resume with" not in replacing.stderr
    assert vitsplice("run", "--resume", "out").returncode == 0


@pytest.mark.slow
def test_second_ctrl_c_in_a_run_that_replaced_another_prints_the_command_that_resumes(vitsplice, png, monkeypatch):
    assert vitsplice(*ONE_STEP, *png, "-o", "out").returncode == 0

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vitsplice.runs.recorder.Recording.steps", stop)
        done = vitsplice(*ONE_STEP, *reversed(png), "-o", "out", "--force")
    assert done.returncode == 130
    assert "resume with: vitsplice run --resume out\n" in done.stderr
    assert vitsplice("run", "--resume", "out").returncode == 0


@pytest.mark.slow
def test_second_ctrl_c_in_a_resumed_run_prints_the_command_that_resumes(vitsplice, png, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vitsplice.runs.recorder.Recording.steps", stop)
        assert vitsplice(*ONE_STEP, *png, "-o", "out").returncode == 130
        again = vitsplice("run", "--resume", "out", "--lut", "a.cube")
    assert again.returncode == 130
    assert again.stderr.count("resume with: vitsplice run --resume out --lut a.cube\n") == 1


@pytest.mark.slow
def test_resume_refuses_settings_and_folders_without_a_run_and_reports_a_finished_run(vitsplice, png, tmp_path):
    vitsplice(*ONE_STEP, *png, "-o", "whole")
    error = one_error(vitsplice("run", "--resume", "nowhere"), 2)
    assert "nowhere does not exist; --resume takes the folder of a run" in error
    assert "--force" not in error
    (tmp_path / "empty").mkdir()
    assert "empty holds no run that can be resumed" in one_error(vitsplice("run", "--resume", "empty"), 2)
    assert "leave out --steps" in one_error(vitsplice("run", "--resume", "whole", "--steps", "3"), 2)
    done = vitsplice("run", "--resume", "whole")
    assert done.returncode == 0
    assert "is finished: whole/output.png" in done.stderr


@pytest.mark.slow
def test_unwritable_preview_is_reported_and_the_run_finishes(vitsplice, png, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "previews").write_text("in the way")
    done = vitsplice(*TINY, *png, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "no preview: cannot write out/previews/step-000002.png" in done.stderr


@pytest.mark.slow
def test_full_disk_is_reported_with_the_output_path(vitsplice, png, monkeypatch):
    def full(path, data):
        if path.name == "output.png":
            raise OSError(28, "No space left on device")
        write_atomically(path, data)

    monkeypatch.setattr("vitsplice.runs.artifacts.write_atomically", full)
    assert "cannot write out/output.png: No space left" in vitsplice(*ONE_STEP, *png, "-o", "out").stderr


def test_folder_named_output_png_is_refused(vitsplice, png, tmp_path):
    (tmp_path / "out" / "output.png").mkdir(parents=True)
    error = one_error(vitsplice(*TINY, *png, "-o", "out"), 2)
    assert "output.png is not a file, but a file is written there; remove it" in error


@pytest.mark.usefixtures("one_metric", "small_metrics", "no_plots")
@pytest.mark.slow
def test_failing_metric_is_reported_with_its_reason_and_the_run_finishes(vitsplice, png, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("vitsplice.metrics.independent.patch_distance", fail)
    done = vitsplice(*ONE_STEP, *png, "--set", "metrics=all", "--set", "plots=all", "-o", "out")
    assert (done.returncode, done.stdout.strip()) == (0, "out/output.png")
    [row] = [line for line in done.stderr.splitlines() if line.strip().startswith("lab-patches")]
    assert "appearance image; not measured: out of memory (MemoryError)" in " ".join(row.split())


@pytest.mark.usefixtures("one_metric", "small_metrics", "no_plots")
@pytest.mark.slow
def test_run_interrupted_while_measuring_resumes_with_metrics_none(vitsplice, png, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vitsplice.metrics.independent.patch_distance", interrupt)
    assert vitsplice(*ONE_STEP, *png, "--set", "metrics=all", "-o", "out").returncode == 130
    assert vitsplice("run", "--resume", "out").returncode == 130
    assert "leave out --seed" in one_error(vitsplice("run", "--resume", "out", "--seed", "3"), 2)
    assert "can be changed" in one_error(vitsplice("run", "--resume", "out", "--set", "seed=3"), 2)
    assert vitsplice("run", "--resume", "out", "--set", "metrics=none").returncode == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["finished"] is True


@pytest.mark.usefixtures("one_metric", "small_metrics", "no_plots")
@pytest.mark.slow
def test_metrics_of_a_run_without_steps_have_no_start_column(vitsplice, png):
    settings = (
        "generator.name=pixels",
        "generator.options={}",
        "terms.identity.weight=0",
        "metrics=all",
        "start=match",
        "match.grid=8",
    )
    options = [word for setting in settings for word in ("--set", setting)]
    stepped = " ".join(vitsplice(*ONE_STEP, *png, "-o", "stepped", *options).stderr.split())
    assert "lower is better; start: before the first step;" in stepped
    unstepped = " ".join(vitsplice(*TINY, *png, "-o", "unstepped", *options, "--steps", "0").stderr.split())
    assert "start:" not in unstepped
    assert "lower is better; unchanged: the structure image" in unstepped


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_several_appearance_images_with_weights_are_recorded_and_can_be_run_again(vitsplice, png, tmp_path):
    images = ("structure.png", "appearance.png", "--appearance", "structure.png:0.5", "--set", "plots=all")
    match = ("--backbone", "tiny-vit", "--set", "start=match", "--set", "match.grid=8")
    masks = ("--appearance-mask", "-", "--appearance-mask", "structure.png")
    done = vitsplice(*ONE_STEP, *images, *match, *masks, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "appearance image 2 structure.png" in done.stderr
    assert "appearance mask 2 structure.png" in done.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["appearance_weights"] == {"appearance": 1.0, "appearance_2": 0.5}
    assert list(record["masks"]) == ["appearance_2"]
    assert (tmp_path / "out" / "provenance.png").is_file()
    assert "--appearance structure.png:0.5" in (tmp_path / "out" / "report.html").read_text()
    assert vitsplice(*ONE_STEP, *png, "-o", "out", "--force").returncode == 0
    assert not (tmp_path / "out" / "provenance.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--appearance", "appearance.png:0"), "from 1e-06 to 1e+06"),
        (("--appearance", "gone.png:0.5"), "gone.png"),
        (("--appearance", "gone.png:much"), "gone.png:much"),
        (("--appearance", "appearance.png:much"), "weight 'much' of appearance.png is not a number"),
        (("--appearance", "appearance.png:"), "weight '' of appearance.png is not a number"),
        (
            ("appearance.png", "--appearance-mask", "-", "--appearance-mask", "-", "--appearance-mask", "-"),
            "3 appearance",
        ),
    ],
)
def test_invalid_appearance_images_exit_with_2(vitsplice, png, arguments, message):
    assert message in one_error(vitsplice(*TINY, *png, *arguments), 2)


@pytest.mark.slow
def test_regions_of_the_command_line_name_images_by_file_or_number(vitsplice, png, tmp_path):
    match = ("--backbone", "tiny-vit", "--set", "start=match", "--set", "match.grid=8")
    (tmp_path / "mask.png").write_bytes(encode_png(torch.ones(3, 40, 48)))
    regions = ("--region", "mask.png=appearance", "--region", "mask.png=1:mask.png")
    done = vitsplice(*ONE_STEP, *png, *match, *regions, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "region 2 mask.png" in done.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [region["appearance"] for region in record["regions"]] == ["appearance", "appearance"]
    assert record["regions"][1]["appearance_mask"]["name"] == "mask.png"


@pytest.mark.slow
def test_proposed_regions_are_recorded_like_given_ones(vitsplice, tmp_path, monkeypatch):
    monkeypatch.setattr("vitsplice.analysis.auto_regions.cosegment", partial(cosegment, size=128))
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(encode_png(disc(seed=number)[0]))
    match = ("--backbone", "tiny-vit", "--set", "start=match", "--set", "match.grid=8")
    done = vitsplice(*ONE_STEP, "1.png", "2.png", *match, "--auto-regions", "2", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "regions: out/regions/cosegment.png" in done.stderr
    assert "1-1_parts.png, a region for each colour, from" in done.stderr
    (region,) = json.loads((tmp_path / "out" / "run.json").read_text())["regions"]
    masks = [tmp_path / "out" / "regions" / name for name in ("1-1_parts.png", "2-2_parts.png")]
    assert [region[name]["name"] for name in ("structure_mask", "appearance_mask")] == [
        f"out/regions/{path.name}" for path in masks
    ]
    given = f"{masks[0]}=1:{masks[1]}"
    assert vitsplice(*ONE_STEP, "1.png", "2.png", *match, "--region", given, "-o", "given").returncode == 0
    first, second = ((tmp_path / name / "output.png").read_bytes() for name in ("out", "given"))
    assert first == second
    assert "already holds a run" in vitsplice(*TINY, "1.png", "2.png", "--auto-regions", "2", "-o", "out").stderr


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("structure.png", "MASK=IMAGE"),
        ("structure.png=zebra.jpg", "no appearance image 'zebra.jpg'"),
        ("gone.png=1", "gone.png"),
    ],
)
def test_invalid_regions_exit_with_2(vitsplice, png, region, message):
    assert message in one_error(vitsplice(*TINY, *png, "--region", region), 2)
