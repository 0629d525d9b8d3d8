import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from vitsplice.cli import main

HELPERS = Path(__file__).resolve().parents[1] / "helpers"


@pytest.fixture
def environment():
    paths = [str(HELPERS), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }


@pytest.fixture
def install_plugin(tmp_path, monkeypatch, fresh_catalogue):
    """Function that installs a plugin: one module with the given code."""

    def install(name, code):
        (tmp_path / f"vitsplice_{name}.py").write_text(code)
        info = tmp_path / f"vitsplice_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vitsplice-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[vitsplice]\n{name} = vitsplice_{name}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, f"vitsplice_{name}", raising=False)  # of an earlier test

    return install


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def vitsplice(tmp_path, monkeypatch, capsys):
    """Function that runs a command in this process, in the folder tmp_path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments, **env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        code = main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def vitsplice_process(tmp_path, environment):
    """Function that runs a command in a process of its own, in the folder tmp_path."""

    def run(*arguments, **env):
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "vitsplice", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment | env,
            timeout=300,
        )

    return run
