import json
import sys
from dataclasses import asdict
from functools import partial
from time import process_time

import pytest

from vitsplice.cli.bench import BenchmarkName
from vitsplice.presets.settings import settings_for
from vitsplice.tools.bench import BENCHMARKS, LOOPS, best_seconds, matmul_rate, pass_times, step_times
from vitsplice.tools.processes import ProcessTimes


def settings_with_small_views(*arguments, overrides=(), **settings):
    return settings_for(*arguments, overrides=[*overrides, "resize.size=56"], **settings)


@pytest.fixture
def short(monkeypatch):
    """Use small images, CPU time, one timed step after a warm-up step, and two timed calls of every other function."""
    monkeypatch.setattr("vitsplice.tools.bench.perf_counter", process_time)
    monkeypatch.setattr("vitsplice.tools.bench.SIZE", 56)
    monkeypatch.setattr("vitsplice.tools.bench.settings_for", settings_with_small_views)
    monkeypatch.setattr("vitsplice.tools.bench.WARM_UP", 1)
    monkeypatch.setattr("vitsplice.tools.bench.MAX_STEPS", 1)
    monkeypatch.setattr("vitsplice.tools.bench.best_seconds", lambda function, repeats: best_seconds(function, 2))


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_steps_are_relative_to_a_plain_loop_and_each_loop_has_a_row(vitsplice, monkeypatch):
    plain, *others = times = step_times("tiny-vit", 1)
    assert plain["of_plain"]["median"] == 1.0
    # One step is not exact: the bounds only exclude wrong units and inverted ratios.
    assert all(0.05 < loop["of_plain"]["median"] < 4 for loop in others)
    monkeypatch.setattr("vitsplice.tools.bench.step_times", lambda backbone, steps: times)
    done = vitsplice("bench", "--part", "steps", "--steps", 1, "--backbone", "tiny-vit")
    assert done.returncode == 0, done.stderr
    assert all(loop in done.stdout for loop in ("plain loop, float32", *LOOPS))
    assert done.stderr == f"measuring {BENCHMARKS['steps']}\n"


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_passes_are_relative_to_matrix_multiplication(vitsplice, monkeypatch):
    monkeypatch.setattr("vitsplice.tools.bench.matmul_rate", partial(matmul_rate, side=1024))
    times = pass_times("tiny-vit")
    assert 0 < times["share_of_matmul_rate"]["float32"] < 4
    monkeypatch.setattr("vitsplice.tools.bench.pass_times", lambda backbone: times)
    done = vitsplice("bench", "--part", "passes", "--steps", 1, "--backbone", "tiny-vit")
    assert done.returncode == 0, done.stderr
    assert "the backbone reaches" in done.stdout
    assert done.stderr == f"measuring {BENCHMARKS['passes']}\n"


@pytest.mark.slow
def test_run_lists_its_parts_with_the_share_of_the_backbone(vitsplice):
    done = vitsplice("bench", "--part", "run", "--preset", "tiny", "--preset-steps", 2)
    assert done.returncode == 0, done.stderr
    assert "a run of tiny" in done.stdout
    assert "tiny-vit" in done.stdout
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    assert all(any(row[0:1] == [part] for row in rows) for part in ("load", "start", "stage", "metrics"))
    assert "plain loop" not in done.stdout


@pytest.mark.slow
def test_timed_process_is_a_run_with_the_same_settings(vitsplice, monkeypatch, tmp_path):
    commands, times = [], ProcessTimes(10.0, 18.0, 900.0)
    monkeypatch.setattr(
        "vitsplice.tools.bench.time_one_and_two", lambda command: commands.append(command(tmp_path)) or (times, times)
    )
    arguments = ("--part", "processes", "--preset", "tiny", "--preset-steps", 1, "--backbone", "tiny-cnn")
    done = vitsplice("bench", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["processes"] == {"one": asdict(times), "two": asdict(times), "two_to_one": 1.0}
    ((python, flag, module, *words),) = commands
    assert (python, flag, module) == (sys.executable, "-m", "vitsplice")
    assert vitsplice(*words).returncode == 0
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["preset"], record["steps"]["taken"]) == ("tiny", 1)
    assert "tiny-cnn" in (tmp_path / "run.yaml").read_text()


def test_two_runs_at_once_are_compared_with_one(vitsplice, monkeypatch):
    one, two = ProcessTimes(10.0, 18.0, 900.0), ProcessTimes(19.0, 36.0, 901.0)
    monkeypatch.setattr("vitsplice.tools.bench.time_one_and_two", lambda command: (one, two))
    done = vitsplice("bench", "--part", "processes", "--preset", "tiny")
    assert done.returncode == 0, done.stderr
    assert "one run: 10.0 s, 18.0 CPU seconds, largest process 900 MiB" in done.stdout
    assert "1.90 times" in done.stdout


def test_settings_that_the_run_would_refuse_are_refused_at_once(vitsplice):
    done = vitsplice("bench", "--part", "processes", "--preset", "tniy")
    assert done.returncode == 2
    assert "tiny" in done.stderr


@pytest.mark.parametrize("part", ["processes", "run"])
def test_preset_for_training_is_refused_before_anything_is_measured(vitsplice, part):
    done = vitsplice("bench", "--part", part, "--preset", "tiny-many")
    assert done.returncode == 2
    assert "has the setting training and is not for one pair of images" in done.stderr
    assert "measuring" not in done.stderr


@pytest.mark.parametrize("part", list(BenchmarkName))
def test_unknown_backbone_is_refused_before_anything_is_measured(vitsplice, part):
    done = vitsplice("bench", "--part", part, "--preset", "tiny", "--backbone", "nosuch")
    assert done.returncode == 2
    assert "nosuch" in done.stderr
    assert "measuring" not in done.stderr


def test_every_benchmark_can_be_chosen():
    assert list(BenchmarkName) == list(BENCHMARKS)
