"""What the documents say of names and code is true."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import reference
import timm
from safetensors.torch import save_file

from vitsplice import hookspecs
from vitsplice.backbones.timm import ALIASES
from vitsplice.builtin import PRESETS
from vitsplice.datasets import Pair, write
from vitsplice.errors import UserError
from vitsplice.losses.terms import TERMS
from vitsplice.metrics import METRICS
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.testing import BackboneContract, ExecutorContract, GeneratorContract, LossContract, MetricContract

ROOT = Path(__file__).resolve().parents[1]
README, CONTRIBUTING = ((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
HOOKS = [name for name in vars(hookspecs) if name.startswith("vitsplice_")]


def python_blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.S)


PLUGINS = {
    next(name for name in HOOKS if f"def {name}(" in block): block
    for block in python_blocks(CONTRIBUTING)
    if "@hookimpl" in block
}


def test_the_presets_take_as_long_in_the_readme_as_in_the_list_and_in_their_files():
    for name in ("instant", "quick", "best"):
        duration = PRESETS[name].partition(":")[0]
        (row,) = re.findall(rf"^\| `{name}`.*$", README, re.M)
        assert duration in row
    for name in ("instant", "quick"):
        first = catalogue().presets[name].path.read_text().splitlines()[0]
        assert PRESETS[name].partition(":")[0] in first.lower().replace("cpu", "CPU")


def test_every_hook_has_an_example():
    assert set(PLUGINS) == set(HOOKS)


def spec_of(hook):
    namespace = {"__name__": "contributing"}
    exec(compile(PLUGINS[hook], "CONTRIBUTING.md", "exec"), namespace)
    if hook == "vitsplice_backbone_for":
        assert namespace[hook]("others/x") is None
        return namespace[hook]("mine/test_vit")
    (spec,) = namespace[hook]()
    return spec


def test_the_loss_of_contributing_keeps_its_contract():
    spec = spec_of("vitsplice_losses")
    assert not [v for v in type("Of", (LossContract,), {"spec": lambda self: spec}).verdicts() if v.outcome == "broken"]


def test_the_generator_of_contributing_keeps_its_contract():
    spec = spec_of("vitsplice_generators")
    found = type("Of", (GeneratorContract,), {"spec": lambda self: spec}).verdicts()
    assert not [verdict for verdict in found if verdict.outcome == "broken"]


def test_the_metric_of_contributing_keeps_its_contract():
    spec = spec_of("vitsplice_metrics")
    found = type("Of", (MetricContract,), {"spec": lambda self: spec}).verdicts()
    assert not [verdict for verdict in found if verdict.outcome == "broken"]


def test_the_executor_of_contributing_has_the_two_workers_of_the_contract():
    spec = spec_of("vitsplice_executors")
    for workers, options, expected in ((ExecutorContract.workers, {}, 2), (0, {}, 2), (5, {"most": 1}, 1)):
        made = spec.build(workers, 3, complete(spec, options))
        assert (made.workers, made.threads) == (expected, 3)


def test_the_backbones_of_contributing_are_built(tmp_path):
    made = spec_of("vitsplice_backbones").build(None)
    assert made.info.name == "mine-vit"
    contract = type("Of", (BackboneContract,), {"backbone": lambda self: made, "size": (32, 48)})
    assert not [v for v in contract.verdicts("shapes") if v.outcome == "broken"]
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), path)
    assert spec_of("vitsplice_backbone_for").build(path).info.name == "mine/test_vit"


def test_the_preset_and_the_command_of_contributing_work(capsys):
    assert spec_of("vitsplice_presets").path.is_file()
    spec_of("vitsplice_commands").command("losses")
    assert int(capsys.readouterr().out) >= 7
    with pytest.raises(UserError, match="no kind 'colours'; there are backbones"):
        spec_of("vitsplice_commands").command("colours")


def test_the_reference_is_what_the_code_says():
    assert (ROOT / "docs" / "reference.md").read_text() == reference.text()


def test_every_alias_and_preset_is_in_the_readme():
    for name in PRESETS:
        assert name in README
    stems = re.sub(r"both with\s+`-reg`", "", README)
    assert [n for n in ALIASES if f"`{n}`" not in stems and f"`{n.removesuffix('-reg')}`" not in stems] == []


def test_every_metric_is_in_the_docs_and_their_code_runs(png, tmp_path):
    text = (ROOT / "docs" / "evaluation.md").read_text()
    assert [spec.name for spec in METRICS if f"| `{spec.name}` | {spec.better} |" not in text] == []
    write(tmp_path / "pairs.csv", [Pair("p", *png)])
    (tmp_path / "made").mkdir()
    shutil.copy(png[0], tmp_path / "made" / "p.png")
    (block,) = python_blocks(text)
    exec(block, {"pairs": tmp_path / "pairs.csv", "folder": tmp_path / "made", "out": tmp_path / "out"})
    assert (tmp_path / "out" / "gallery.html").is_file()


def test_the_code_of_the_docs_of_losses_runs_and_its_table_has_every_term():
    text = (ROOT / "docs" / "losses.md").read_text()
    exec("\n".join(python_blocks(text)), {})
    assert [spec.name for spec in TERMS if f"`{spec.name}`" not in text.partition("| term |")[2]] == []


def test_every_public_thing_that_can_be_swapped_is_in_contributing():
    for word in ("A backbone", "A loss term", "A generator", "A metric", "A preset", "An executor", "A command"):
        assert f"### {word}" in CONTRIBUTING


def test_make_targets_that_the_documents_name_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"^\s*make ([a-z-]+)", README + CONTRIBUTING, re.M))
    assert {"run", "test"} <= named <= targets


def test_make_says_what_it_would_do_without_doing_it():
    done = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert "vitsplice run --force -o out/make-run" in done.stdout
