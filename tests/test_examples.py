"""Each script in examples/ runs and prints the expected output."""

import os
import resource
import runpy
import sys
from functools import cache, partial, wraps
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from vitsplice.analysis.compare import ComparisonPlan
from vitsplice.engine.backbones import BackboneCache
from vitsplice.errors import AlreadyFinished
from vitsplice.images import encode_png, example, read, resize_to
from vitsplice.loss_modules import StructureLoss, from_preset
from vitsplice.matching.description import describe_image
from vitsplice.metrics import RUN_METRICS
from vitsplice.metrics.segments import joint_clusters
from vitsplice.metrics.values import MetricValue
from vitsplice.presets.settings import DEFAULT_PRESET, settings_for

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

TINY_CNN = "backbones.cnn.name=tiny-cnn"
SMALLER = {
    "instant": (TINY_CNN,),
    "quick": (
        TINY_CNN,
        "stages=[{side: 24, share: 0.5}, {side: 32, share: 0.5}]",
        "backbones.vit.side=32",
        "terms.detail.options.samples=200",
    ),
    "paper": ("resize.size=32", "generator.options.channels=[4, 8]"),
    "invert": ("size=32", "resize.size=32", "generator.options.channels=[4, 8]", "generator.options.kernels=[5, 3]"),
    "invert-pixels": ("size=32", "resize.size=32"),
}
"""Overrides of presets: smaller images and networks."""


@pytest.fixture(scope="module")
def networks():
    """Cache of the networks of all examples."""
    return BackboneCache()


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, networks):
    """Function that runs a script of examples/ in this process, in an empty folder, and returns its output.

    To save time, nothing is plotted, images are small and matched on few patches, runs use tiny networks unless the
    script names others, all runs share loaded networks, and both metrics of segments share the clusters of a pair.
    """

    def run(script, *arguments):
        path = EXAMPLES / script
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        monkeypatch.syspath_prepend(EXAMPLES)
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as error:
            if error.code:
                raise
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vitsplice.runs.artifacts.losses_png", lambda *_: b"")
    monkeypatch.setattr("vitsplice.runs.artifacts.report", lambda *_: "")
    monkeypatch.setattr("vitsplice.support.plots._save", lambda *_, **__: b"<svg></svg>")
    monkeypatch.setattr("vitsplice.metrics.independent.SIZE", 64)
    monkeypatch.setattr("vitsplice.metrics.segments.joint_clusters", cache(joint_clusters))
    monkeypatch.setattr("vitsplice.engine.start.describe_image", describe_coarsely)
    monkeypatch.setattr("vitsplice.analysis.compare.ComparisonPlan", partial(ComparisonPlan, size=96))
    monkeypatch.setattr("vitsplice.loss_modules.StructureLoss", partial(StructureLoss, size=56))
    monkeypatch.setattr("vitsplice.loss_modules.from_preset", lambda *a, size, **s: from_preset(*a, size=32, **s))
    monkeypatch.setattr("vitsplice.runs.run.BackboneLoader", lambda: networks)
    for module in ("analysis.inversion", "api", "loss_modules.modules"):
        monkeypatch.setattr(f"vitsplice.{module}.settings_for", smaller_settings)
    return run


@wraps(settings_for)
def smaller_settings(preset=DEFAULT_PRESET, *, overrides=(), backbone=None, **settings):
    overrides = [*SMALLER.get(preset, ()), *overrides]
    return settings_for(preset, overrides=overrides, backbone=backbone or "tiny-vit", **settings)


def describe_coarsely(pixels, backbone, grid, **settings):
    return describe_image(pixels, backbone, min(grid, 4), **settings)


def reduced(folder, pair):
    """Write a pair of photographs, reduced in size, to a new folder; return the paths."""
    folder.mkdir(parents=True)
    paths = folder / "structure.jpg", folder / "appearance.jpg"
    for photograph, path in zip(pair, paths, strict=True):
        path.write_bytes(encode_png(resize_to(read(photograph).pixels, 96)))
    return paths


@pytest.fixture
def photographs(tmp_path):
    """Files of the packaged pair of photographs, reduced in size, alone in their folder."""
    return reduced(tmp_path / "photographs" / "pair", example())


@pytest.fixture
def offline():
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")


@pytest.fixture
def one_pair(tmp_path_factory, monkeypatch):
    """Reduce the packaged photographs in size; examples of all packaged pairs use only the pair cat-dog."""
    monkeypatch.setattr("vitsplice.images.EXAMPLE_PAIRS", ("cat-dog",))
    monkeypatch.setattr(
        "vitsplice.images.example", lambda *name: reduced(tmp_path_factory.mktemp("example") / "pair", example(*name))
    )


@pytest.mark.slow
@pytest.mark.usefixtures("one_pair")
@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("06_backbone_plugin.py", (), "against itself: 0.0000"),
        ("09_pca.py", ("tiny-vit",), "saved: out/example-pca/pca.png"),
        ("02_losses_in_your_loop.py", ("tiny-vit", "tiny-cnn"), "smoothness       1 x"),
        ("04_contact_sheet.py", ("sheet.png", "--steps", "2"), "sheet.png"),
        ("10_inversion.py", ("tiny-vit", "2"), "cls[-1]"),
        ("11_comparison.py", ("tiny-vit", "tiny-cnn"), "tiny-cnn ["),
        ("16_video_clip.py", (*example(), "clip.mp4", "--frames", "3", "--side", "64"), "3 frames: clip.mp4"),
        (
            "07_vit_or_cnn.py",
            ("tiny-vit", "tiny-cnn", "--steps", "1", "--size", "64"),
            "tiny-cnn: out/example-tiny-cnn",
        ),
    ],
)
def test_example_runs_with_tiny_networks(run, script, arguments, expected):
    output = run(script, *arguments)
    assert expected in output
    assert "failed" not in output


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.usefixtures("offline", "one_pair")
@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("02_losses_in_your_loop.py", (), "smoothness       1 x"),
        ("14_known_masks.py", ("masks",), "0 of 8 values are wrong"),
    ],
)
def test_example_runs_with_pretrained_networks(run, script, arguments, expected):
    assert expected in run(script, *arguments)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.usefixtures("offline", "one_pair")
def test_example_of_identity_measures_with_a_pretrained_network(run, monkeypatch):
    monkeypatch.setattr("vitsplice.presets.settings.settings_for", smaller_settings)
    assert "sheet.png" in run("08_identity.py", "runs", "sheet.png", "--steps", "1", "--size", "64")


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.usefixtures("offline")
def test_examples_of_photographs_run_and_measure_with_a_pretrained_network(run, photographs):
    folder = photographs[0].parents[1]
    printed = run("01_transfer.py", *photographs)
    assert [f"step {step}: " in printed for step in (0, 1, 10)] == [False, True, True]
    assert "saved to: out/example-transfer" in printed
    assert "| quick |" in run("05_ablation.py", folder, "--steps", 1, "--only", "quick", "--size", 64)
    assert "sheet.png" in run("03_side_by_side.py", *photographs, photographs[0], "sheet.png")


def test_example_of_a_transfer_refuses_a_single_image(run, photographs):
    with pytest.raises(ValueError, match="expected 2, got 1"):
        run("01_transfer.py", photographs[0])


@pytest.fixture
def spliced(monkeypatch):
    """Structure images passed to a replacement of `vitsplice.splice`, which only returns metrics.

    Each metric has the value 0.5, or no value for the pair `failing`.
    """
    structures = []

    def splice(structure, *_, **__):
        structures.append(structure)
        value, reason = (None, "no network") if structure.parent.name == "failing" else (0.5, "")
        return SimpleNamespace(metrics=[MetricValue(name, value, reason) for name in RUN_METRICS])

    monkeypatch.setattr("vitsplice.splice", splice)
    return structures


def test_ablation_repeats_only_runs_of_the_same_pair_size_and_steps(run, spliced, tmp_path):
    for folder in ("first", "second"):
        (tmp_path / folder / "pair").mkdir(parents=True)
        (tmp_path / folder / "pair" / "structure.jpg").touch()
    calls = [("first",), ("first", "--size", 64), ("first", "--steps", 2), ("second",)]
    for arguments in calls + calls:
        assert "| quick | 0.5000" in run("05_ablation.py", *arguments, "--only", "quick")
    assert len(spliced) == len(calls)


def test_ablation_stops_with_the_reason_of_a_metric_without_a_value(run, spliced, tmp_path):
    (tmp_path / "pairs" / "failing").mkdir(parents=True)
    (tmp_path / "pairs" / "failing" / "structure.jpg").touch()
    with pytest.raises(SystemExit, match="gradient-ssim has no value: no network"):
        run("05_ablation.py", "pairs", "--only", "quick")
    assert not (tmp_path / "ablation.csv").exists()


@pytest.mark.parametrize(("option", "message"), [("--steps", "steps 3, not 40"), ("--size", "size 64, not 40")])
def test_example_of_identity_refuses_runs_of_other_settings(run, photographs, option, message):
    folder = Path("runs/pair-0")
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(settings_for("paper", steps=3, size=64).to_yaml())
    arguments = {"--steps": 3, "--size": 64} | {option: 40}
    with pytest.raises(SystemExit, match=f"{folder} holds a run with {message}"):
        run("08_identity.py", "runs", "sheet.png", photographs[0].parent, *sum(arguments.items(), ()))


def test_example_of_identity_prints_a_dash_for_a_metric_without_a_value(run, photographs, monkeypatch):
    record = {"metrics": [{"name": "gradient-ssim", "value": None}], "last": {"losses": {"identity": 0.5}}}
    monkeypatch.setattr("vitsplice.runs.recorder.Recording.begin_or_resume", Mock(side_effect=AlreadyFinished("run")))
    monkeypatch.setattr("vitsplice.runs.artifacts.RunFolder.record", lambda _: record)
    monkeypatch.setattr("vitsplice.runs.artifacts.RunFolder.output", photographs[0])
    printed = run("08_identity.py", "runs", "sheet.png", photographs[0].parent)
    assert "| pair: on the appearance image | - | 0.5 |" in printed


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("08_identity.py", ("runs", "sheet.png", "a/pair", "b/pair"), "must have different names"),
        ("13_batch_overhead.py", ("earlier", "--executor", "local"), "earlier/local holds an earlier batch"),
        ("16_video_clip.py", (*example(), "clip.mp4", "--side", "63"), "--side must be an even number"),
        ("16_video_clip.py", (*example(), "clip.mp4", "--side", "22"), "at least 24 pixels, not 22"),
    ],
)
def test_example_refuses_arguments(run, capsys, script, arguments, message):
    Path("earlier/local").mkdir(parents=True)
    with pytest.raises(SystemExit):
        run(script, *arguments)
    assert message in capsys.readouterr().err


@pytest.fixture
def forked(processes, monkeypatch):
    """Processes of `python -m vitsplice` are forked from one that has imported everything, and render no plots.

    The examples may wait for them only by `poll`, `wait` and `os.wait4`: they are not children of this process.
    """
    from resumable import light_main

    started = {}

    def start(command, env=None, **_):
        assert command[:3] == [sys.executable, "-m", "vitsplice"]
        environment = processes.environment | (env or {})
        process = processes.start(command[3:], Path.cwd(), environment=environment, program=light_main)
        started[process.pid] = process

        def wait():
            process.wait()
            return process.returncode

        return SimpleNamespace(pid=process.pid, poll=lambda: process.returncode, wait=wait)

    def wait4(pid, _):
        started[pid].wait()
        return pid, started[pid].returncode << 8, resource.getrusage(resource.RUSAGE_SELF)

    monkeypatch.setattr("subprocess.Popen", start)
    monkeypatch.setattr(os, "wait4", wait4)


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_example_of_many_images_runs(run):
    assert "5 pairs: " in run("12_many_images.py", "many", "--images", "5")


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.usefixtures("offline", "forked")
def test_example_of_batch_overhead_runs(run):
    output = run("13_batch_overhead.py", "o", "--pairs", "2", "--workers", "1", "--executor", "tiny-in-turn")
    assert "tiny-in-turn: 2 pairs, 1 workers" in output
    assert "memory at 95 %: driver" in output
