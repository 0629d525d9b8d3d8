"""The scripts in examples/ run as they stand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vitsplice.images import example

PAIR = tuple(map(str, example()))
PAIRS = Path(__file__).resolve().parents[2] / "shared" / "pairs"
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


SUPPORT = Path(__file__).parent / "helpers"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        ("02_losses_in_your_loop.py", ("tiny-vit",), "smoothness       2 x"),
        ("06_backbone_plugin.py", (), "against itself: 0.0000"),
        ("09_pca.py", ("tiny-vit",), "saved: out/example-pca/pca.png"),
        ("10_inversion.py", ("tiny-vit", "2"), "cls[-1]"),
        ("11_comparison.py", ("tiny-vit", "tiny-cnn"), "tiny-cnn ["),
        ("12_many_images.py", ("many", "--images", "5"), "5 images: "),
        (
            "07_vit_or_cnn.py",
            ("tiny-vit", "tiny-cnn", "--steps", "2", "--size", "64"),
            "tiny-cnn: out/example-tiny-cnn",
        ),
    ],
)
def test_an_example_runs_on_tiny_networks(script, arguments, told, tmp_path):
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments],
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
    assert "broken" not in done.stdout


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        ("01_transfer.py", (), "saved to: out/example-transfer"),
        ("02_losses_in_your_loop.py", (), "smoothness       2 x"),
        ("04_contact_sheet.py", ("sheet.png", "--steps", "2"), "sheet.png"),
        ("05_ablation.py", (str(PAIRS), "--steps", "1", "--only", "quick"), "| quick |"),
        ("14_known_masks.py", ("masks",), "0 of 8 are off"),
        ("08_identity.py", ("runs", "sheet.png", "--steps", "1", "--size", "112"), "sheet.png"),
        ("13_batch_overhead.py", ("o", "--pairs", "12", "--executor", "local"), "memory, end: driver"),
        ("03_side_by_side.py", (*PAIR, PAIR[0], "sheet.png"), "sheet.png"),
    ],
)
def test_an_example_runs(script, arguments, told, tmp_path):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    if str(PAIRS) in arguments and not PAIRS.is_dir():
        pytest.skip("the folder of shared photographs is not beside this checkout")
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments],
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
