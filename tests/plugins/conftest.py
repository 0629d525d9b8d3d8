"""A folder of fictitious distributions, discovered like installed ones."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from vitsplice.errors import UserError
from vitsplice.plugins import Catalogue, PluginRecord, catalogue, discovery

HEAD = """
from pathlib import Path
from vitsplice.contracts import (
    BackboneSpec, CommandSpec, ConditionalGeneratorSpec, ExecutorSpec, GeneratorSpec, LossSpec, MetricSpec, Option,
    PresetSpec,
)
from vitsplice.errors import UserError
from vitsplice.hookspecs import hookimpl

def backbone(name):
    return BackboneSpec(name, lambda weights: None, "a backbone", "MIT", "nowhere")

def loss(name):
    return LossSpec(name, lambda context: None, "a term", "structure", "structure")

def generator(name):
    return GeneratorSpec(name, lambda structure, options: None, "a generator")

def conditional_generator(name):
    return ConditionalGeneratorSpec(name, lambda channels, options: None, "a conditional generator", ("cls",))

def metric(name):
    return MetricSpec(name, lambda context: None, "a metric")

def preset(name):
    return PresetSpec(name, Path(name), "a preset")

def executor(name):
    return ExecutorSpec(name, lambda workers, threads, options: None, "an executor")

def command(name):
    return CommandSpec(name, lambda: None, "a command")
"""
BUILTIN = """
@hookimpl
def vitsplice_backbones():
    return [backbone("dino-vitb8"), backbone("vgg19")]

@hookimpl
def vitsplice_presets():
    return [preset("paper"), preset("swift")]

@hookimpl
def vitsplice_commands():
    return [command("run")]
"""
GOOD = """
@hookimpl
def vitsplice_backbones():
    return [backbone("clip-vitb16")]

@hookimpl
def vitsplice_losses():
    return [loss("gram")]

@hookimpl
def vitsplice_generators():
    return [generator("kiting")]

@hookimpl
def vitsplice_conditional_generators():
    return [conditional_generator("sailing")]

@hookimpl
def vitsplice_metrics():
    return [metric("blueness")]

@hookimpl
def vitsplice_presets():
    return [preset("painting")]

@hookimpl
def vitsplice_executors():
    return [executor("crowd")]

@hookimpl
def vitsplice_commands():
    return [command("paint")]
"""


PANIC = """
class Panic(BaseException):
    pass

def panic():
    raise Panic("no")

"""
"""Code of a function that raises an error that is no Exception, as extensions in Rust do."""


def backbones(expression: str) -> str:
    """A plugin whose hook for backbones returns an expression."""
    return f"@hookimpl\ndef vitsplice_backbones():\n    return {expression}\n"


def returning(kind: str, spec: str) -> str:
    """A plugin whose hook for a kind returns a list of one spec."""
    return f"@hookimpl\ndef vitsplice_{kind}():\n    return [{spec}]\n"


def backbone_for(expression: str) -> str:
    """A plugin whose hook ``vitsplice_backbone_for(name)`` returns an expression."""
    return f"@hookimpl\ndef vitsplice_backbone_for(name):\n    return {expression}\n"


class Shelf:
    """A folder on sys.path with fictitious distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def module(self, name: str, code: str) -> None:
        (self.folder / f"{name}.py").write_text(HEAD + dedent(code))
        importlib.invalidate_caches()

    def add(self, name: str, code: str, distribution: str = "", attribute: str = "") -> None:
        """Add a module, and an entry point ``name`` for it, to a distribution of version 1.0."""
        distribution = distribution or f"vitsplice-{name}"
        module = f"shelf_{distribution}_{name}".replace("-", "_")
        self.module(module, code)
        self.entry_point(name, module + attribute, distribution)

    def entry_point(self, name: str, value: str, distribution: str) -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "RECORD").write_text("")
        points = info / "entry_points.txt"
        lines = points.read_text() if points.exists() else "[vitsplice]\n"
        points.write_text(f"{lines}{name} = {value}\n")
        importlib.invalidate_caches()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_catalogue: None) -> Iterator[Shelf]:
    """An empty folder of distributions, and fictitious built-in parts."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv(discovery.PLUGINS_VARIABLE, raising=False)
    monkeypatch.setattr(discovery, "BUILTIN", "shelf_builtin")
    distributions = Shelf(folder)
    distributions.module("shelf_builtin", BUILTIN)
    yield distributions
    for name in [name for name in sys.modules if name.startswith("shelf_")]:
        del sys.modules[name]


def record(name: str) -> PluginRecord:
    """Return the record of a plugin."""
    (match,) = [plugin for plugin in catalogue().plugins if plugin.name == name]
    return match


def message(error: type[UserError], name: str, kind: str = "backbones") -> str:
    """The message of the error that the lookup of a name raises."""
    with pytest.raises(error) as caught:
        getattr(catalogue(), kind)[name]
    return str(caught.value)


def assert_only_this_plugin_fails(name: str, reason: str) -> Catalogue:
    """Assert that this plugin failed, for that reason, in one line, and no other; return the catalogue.

    Of the others, the built-in parts and the plugin 'good' are checked.
    """
    failed = record(name)
    assert failed.failure is not None
    assert reason in failed.failure
    assert "\n" not in failed.failure
    assert not failed.specs
    known = catalogue()
    assert record("good").failure is None
    assert known.backbones["dino-vitb8"].name == "dino-vitb8"
    assert known.backbones["clip-vitb16"].name == "clip-vitb16"
    return known
