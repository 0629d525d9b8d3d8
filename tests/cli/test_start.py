import time

import pytest
import torch


@pytest.mark.parametrize("arguments", [("--help",), ("plugins",), ("presets",), ("--version",)])
def test_light_commands_are_quick_and_import_no_torch(vitsplice_process, arguments, tmp_path):
    """1.5 s is the promise; a margin is left for a busy machine, the import is what matters."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('torch', 'timm', 'torchvision'): sys.modules[name] = None\n"
    )
    began = time.monotonic()
    done = vitsplice_process(*arguments, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert time.monotonic() - began < 3


def test_every_command_has_help(vitsplice):
    for command in ("run", "measure", "presets", "plugins"):
        done = vitsplice(command, "--help")
        assert done.returncode == 0
        assert "--help" in done.stdout


def test_a_broken_plugin_breaks_only_itself(vitsplice, monkeypatch, png, tmp_path):
    (tmp_path / "vitsplice_broken.py").write_text("raise RuntimeError('no good')\n")
    info = tmp_path / "vitsplice_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vitsplice-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vitsplice]\nbroken = vitsplice_broken\n")
    monkeypatch.syspath_prepend(tmp_path)
    listed = vitsplice("plugins")
    assert listed.returncode == 0
    assert "no good" in listed.stdout
    assert vitsplice("run", "--preset", "tiny", *png, "-o", "out").returncode == 0
    asked = vitsplice("run", "--backbone", "broken-vit", *png)
    assert asked.returncode == 2
    assert "no good" in asked.stderr


@pytest.mark.parametrize("command", ["pca", "correspond", "keypoints", "compare --style none"])
@pytest.mark.parametrize("allocate", [lambda: torch.empty(2**60), lambda: bytes(2**62)], ids=["torch", "Python"])
def test_memory_that_runs_out_is_told_in_words(vitsplice, monkeypatch, png, command, allocate):
    monkeypatch.setattr("vitsplice.backbones.vit.TimmViT.forward", lambda *_: allocate())
    done = vitsplice(*command.split(), *png, "--backbone", "tiny-vit")
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: out of memory (")
    assert "smaller --size" in done.stderr


@pytest.mark.parametrize("work", ["vitsplice.presets.settings.settings_for", "vitsplice.runs.recorder.Recording.begin"])
def test_ctrl_c_before_the_first_step_prints_interrupted(vitsplice, monkeypatch, png, work):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, interrupted)
    done = vitsplice("run", "--preset", "tiny", *png, "-o", "out")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
