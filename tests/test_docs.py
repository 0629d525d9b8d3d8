"""What the documents say of names and code is true."""

import re
import subprocess
from pathlib import Path

import pytest

from vitsplice import hookspecs
from vitsplice.backbones.timm import ALIASES
from vitsplice.builtin import PRESETS
from vitsplice.contracts import BackboneSpec, LossSpec

ROOT = Path(__file__).resolve().parents[1]
README, CONTRIBUTING = ((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
HOOKS = [name for name in vars(hookspecs) if name.startswith("vitsplice_")]


def python_blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.S)


@pytest.mark.parametrize("block", python_blocks(CONTRIBUTING), ids=["backbone", "loss"])
def test_the_plugins_of_contributing_work_as_printed(block):
    namespace = {}
    exec(compile(block, "CONTRIBUTING.md", "exec"), namespace)
    hook = next(name for name in HOOKS if name in namespace)
    (spec,) = namespace[hook]()
    assert isinstance(spec, BackboneSpec | LossSpec)
    if isinstance(spec, BackboneSpec):
        assert spec.build(None).info.name == spec.name


def test_every_alias_and_preset_is_in_the_readme():
    for name in PRESETS:
        assert name in README
    stems = re.sub(r"both with\s+`-reg`", "", README)
    assert [n for n in ALIASES if f"`{n}`" not in stems and f"`{n.removesuffix('-reg')}`" not in stems] == []


def test_every_public_thing_that_can_be_swapped_is_in_contributing():
    for word in ("backbone", "loss term", "generator", "preset", "command"):
        assert f"### A {word}" in CONTRIBUTING


def test_make_targets_that_the_documents_name_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"^\s*make ([a-z-]+)", README + CONTRIBUTING, re.M))
    assert {"run", "test"} <= named <= targets


def test_make_says_what_it_would_do_without_doing_it():
    done = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert "vitsplice run --force -o out/make-run" in done.stdout
