from dataclasses import replace

import pytest
import torch

from tests.conftest import noise
from vitsplice.cli.run_progress import RunProgress
from vitsplice.engine.values import Step
from vitsplice.metrics.values import MetricValue
from vitsplice.presets.settings import settings_for
from vitsplice.runs.run import Run


@pytest.fixture
def shown(capsys):
    """Return the lines that are printed for steps of the given durations in seconds, without the introduction."""

    def show(durations, steps, resumed_at=0):
        now = 0.0
        run = Run(noise(3, 256, 300, seed=1), noise(3, 256, 256, seed=2), settings_for("tiny", steps=steps, size=256))
        run.resumed_at = resumed_at
        with RunProgress(run, "resume", lambda: now) as progress:
            capsys.readouterr()
            for index, duration in enumerate(durations, resumed_at):
                now += duration
                progress.step(Step(index, 1.5, {"appearance": 1.5}))
        return capsys.readouterr().err.splitlines()

    return show


@pytest.mark.slow
def test_rate_and_eta_leave_out_the_first_steps(shown):
    first, second, third, fourth, last = shown([60.0, 20.0, 10.0, 12.0, 11.0], steps=5)
    assert all("steps/s" not in line and "ETA" not in line for line in (first, second))
    assert third.endswith("0.10 steps/s  ETA 20 s")
    assert fourth.endswith("0.09 steps/s  ETA 11 s")
    assert last.startswith("5/5")
    assert "ETA" not in last


@pytest.mark.slow
def test_long_run_is_announced_once_with_a_shorter_alternative(shown):
    lines = [line for line in shown([15.0, 6.0, *[5.0] * 8], steps=1000) if "will take" in line]
    assert len(lines) == 1
    assert "this run will take about 1:23:20 (1000 steps of 5 s); with --s" in lines[0]
    assert "about 15 minutes" in lines[0]
    assert "Ctrl-C" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("duration", "steps", "resumed_at"),
    [(1.0, 1000, 0), (5.0, 1000, 1)],
    ids=["a quarter of an hour", "resumed: its size cannot be changed"],
)
def test_short_and_resumed_runs_are_not_announced(shown, duration, steps, resumed_at):
    assert not any("will take" in line for line in shown([duration] * 8, steps, resumed_at))


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_bfloat16_without_hardware_for_it_is_announced(precision, monkeypatch, capsys):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    settings = settings_for("tiny", device="cpu", precision=precision)
    run = Run(noise(3, 32, 32, seed=1), noise(3, 32, 32, seed=2), settings)
    RunProgress(run, "resume")
    assert ("this CPU emulates bfloat16" in capsys.readouterr().err) == (precision == "bfloat16")
    run.resumed_at = 1
    RunProgress(run, "resume")
    assert "emulates" not in capsys.readouterr().err  # its precision cannot be changed


def test_brackets_in_the_table_of_metrics_are_printed_as_they_are(capsys):
    run = Run(noise(3, 32, 32, seed=1), noise(3, 32, 32, seed=2), settings_for("tiny", overrides=["metrics=none"]))
    failed = MetricValue("mine [b]", None, "OSError: no file [/tmp/x]; expected [b, c]")
    RunProgress(run, "resume").metrics(replace(run.result(), metrics=(failed,)))
    printed = " ".join(capsys.readouterr().err.split())
    assert "mine [b]" in printed
    assert "no file [/tmp/x]; expected [b, c]" in printed
