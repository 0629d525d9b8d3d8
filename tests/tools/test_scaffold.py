"""New plugins pass their own tests unchanged and are used by a run."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vitsplice.cli import main
from vitsplice.errors import OutputExists, UserError
from vitsplice.plugins import PluginRecord, catalogue
from vitsplice.testing.contract import Contract
from vitsplice.tools import scaffold

SUPPORT = Path(__file__).resolve().parents[1] / "helpers"


def install(root):
    """Write the metadata that pip would write; return a ``PYTHONPATH`` for the plugin and the tests' helpers."""
    module = next(path.name for path in root.iterdir() if path.name.startswith("vitsplice_"))
    metadata = root / f"{module}-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {root.name}\nVersion: 0.1.0\n")
    entry = (root / "pyproject.toml").read_text().split("[project.entry-points.vitsplice]\n")[1].split("\n")[0]
    (metadata / "entry_points.txt").write_text("[vitsplice]\n" + entry.replace('"', "") + "\n")
    return os.pathsep.join([str(root), str(SUPPORT)])


def check_plugins(names):
    """Check plugins as `vitsplice plugin check` does, except for their listing; return the highest exit code."""
    del Contract.test_listing_imports_no_heavy_package  # half a second each; the plugins' own tests include it
    return max(main(["plugin", "check", name]) for name in names)


@pytest.mark.slow
def test_new_plugins_pass_their_tests_and_are_used_by_run(processes, tmp_path, png):
    names = {kind: f"my-{kind.replace('_', '-')}" for kind in scaffold.TEMPLATES_BY_KIND}
    paths = {root: install(root) for root in (scaffold.write(name, kind, tmp_path) for kind, name in names.items())}
    all_paths = os.pathsep.join(paths.values())

    def output_of(*words, folder=tmp_path, path=all_paths, program=main):
        environment = processes.environment | {"PYTHONPATH": path}
        ended = processes.run(words, folder, environment=environment, program=program)
        assert ended.code == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    own_tests = ("-q", "-p", "no:cacheprovider", "--assert=plain")
    for root, path in paths.items():
        assert "passed" in output_of(*own_tests, folder=root, path=path, program=pytest.main)
    assert output_of(*names.values(), program=check_plugins).count("no check failed") == len(names)
    uses = ("--backbone", names["backbone"], "--set", f"generator.name={names['generator']}")
    uses += ("--set", f"terms.mine.loss={names['loss']}", "--set", "terms.mine.weight=1")
    output_of("run", "--preset", "tiny", *png, "-o", "out", "--steps", "3", *uses)
    assert (tmp_path / "out" / "output.png").is_file()


def test_new_plugins_pass_ruff_and_have_no_unfilled_placeholders(tmp_path):
    for kind in scaffold.TEMPLATES_BY_KIND:
        scaffold.write("my-part", kind, tmp_path / kind)
    for command in (("check", "--select", "E,F,I,B,UP"), ("format", "--check")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or "$" not in path.read_text(), path


@pytest.mark.parametrize(("name", "kind"), [("structure", "loss"), ("splicenet", "conditional_generator")])
def test_name_of_a_part_of_the_same_kind_is_refused(tmp_path, name, kind):
    with pytest.raises(UserError, match=f"there is already a {kind.replace('_', ' ')} '{name}'; choose another name"):
        scaffold.write(name, kind, tmp_path)
    assert not list(tmp_path.iterdir())
    scaffold.write(name, "metric", tmp_path)


def test_name_of_an_installed_plugin_is_refused(tmp_path, monkeypatch):
    record = PluginRecord("mine", "vitsplice-mine", "1.0", {})
    monkeypatch.setattr(scaffold, "catalogue", lambda: replace(catalogue(), plugins=(record,)))
    with pytest.raises(UserError, match="the plugin vitsplice-mine is already installed; choose another name"):
        scaffold.write("mine", "loss", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["null", "true", "vitsplice-on", "off", "no"])
def test_name_that_yaml_reads_as_another_type_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="because YAML does not read it as text; choose another name"):
        scaffold.write(name, "preset", tmp_path)
    assert not list(tmp_path.iterdir())


def test_invalid_name_or_kind_and_existing_folder_are_refused(tmp_path):
    for name in ("My", "a b", "../up", "a--b", "a-", "1st", "vitsplice-1st", "vitsplice-", ""):
        with pytest.raises(UserError, match="is not allowed as the name of a plugin"):
            scaffold.write(name, "loss", tmp_path)
    with pytest.raises(UserError, match="allowed are backbone, loss, generator, conditional_generator, metric, preset"):
        scaffold.write("mine", "image", tmp_path)
    scaffold.write("mine", "loss", tmp_path)
    with pytest.raises(OutputExists, match="already exists"):
        scaffold.write("mine", "loss", tmp_path)


@pytest.mark.parametrize("name", ["vitsplice", "vitsplice-vitsplice"])
def test_name_of_the_built_in_parts_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=f"'{name}' is not allowed .* because the built-in plugin has this name"):
        scaffold.write(name, "loss", tmp_path)
    assert not list(tmp_path.iterdir())


def test_name_that_two_plugins_provide_is_refused(tmp_path, monkeypatch):
    losses = replace(catalogue().losses, conflicts={"mine": ("one", "two")})
    monkeypatch.setattr(scaffold, "catalogue", lambda: replace(catalogue(), losses=losses))
    with pytest.raises(UserError, match="there is already a loss 'mine'"):
        scaffold.write("mine", "loss", tmp_path)


def test_nothing_remains_of_a_plugin_that_cannot_be_written(tmp_path, monkeypatch):
    def write(path, data):
        if path.name == "README.md":
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr(scaffold, "write_atomically", write)
    with pytest.raises(UserError, match="cannot write .*: No space left on device"):
        scaffold.write("mine", "loss", tmp_path)
    assert not list(tmp_path.iterdir())
