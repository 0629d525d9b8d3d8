"""README, CONTRIBUTING and docs/ agree with the code: names, options, examples, Python blocks."""

import pkgutil
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
import reference
import timm
from PIL import Image
from safetensors.torch import save_file
from tiny_models import write_tiny_model

import vitsplice
from tests.conftest import TINY_SECOND
from vitsplice import config, hookspecs, plugins
from vitsplice.backbones.timm import ALIASES
from vitsplice.builtin import PRESETS
from vitsplice.datasets import Pair, write
from vitsplice.datasets.check import KINDS
from vitsplice.errors import UserError
from vitsplice.losses.terms import TERMS
from vitsplice.matching import correspond
from vitsplice.metrics import METRICS
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.testing import (
    BackboneContract,
    ConditionalGeneratorContract,
    ExecutorContract,
    GeneratorContract,
    LossContract,
    MetricContract,
)

ROOT = Path(__file__).resolve().parents[1]
README, CONTRIBUTING = ((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
ALL = "\n".join([README, CONTRIBUTING, *PAGES.values()])
HOOKS = [name for name in vars(hookspecs) if name.startswith("vitsplice_")]


def python_blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.S)


PLUGINS = {
    next(name for name in HOOKS if f"def {name}(" in block): block
    for block in python_blocks(PAGES["plugins"])
    if "@hookimpl" in block
}


def test_durations_of_presets_agree_between_page_list_and_files():
    for name in ("instant", "quick", "best"):
        duration = PRESETS[name].partition(":")[0]
        (row,) = re.findall(rf"^\| `{name}`.*$", PAGES["presets"], re.M)
        assert duration in row
    for name in ("instant", "quick"):
        first = catalogue().presets[name].path.read_text().splitlines()[0]
        assert PRESETS[name].partition(":")[0] in first.lower().replace("cpu", "CPU")


def test_every_hook_has_an_example_plugin():
    assert set(PLUGINS) == set(HOOKS)


def spec_of(hook):
    namespace = {"__name__": "plugins"}
    exec(compile(PLUGINS[hook], "docs/plugins.md", "exec"), namespace)
    if hook == "vitsplice_backbone_for":
        assert namespace[hook]("others/x") is None
        return namespace[hook]("mine/test_vit")
    (spec,) = namespace[hook]()
    return spec


@pytest.mark.parametrize(
    ("hook", "contract"),
    [
        ("vitsplice_losses", LossContract),
        ("vitsplice_generators", GeneratorContract),
        ("vitsplice_conditional_generators", ConditionalGeneratorContract),
        ("vitsplice_metrics", MetricContract),
    ],
)
def test_example_plugin_of_a_hook_fulfils_its_contract(hook, contract):
    spec = spec_of(hook)
    results = type("Of", (contract,), {"spec": lambda self: spec}).run_checks()
    assert not [result for result in results if result.outcome == "failed"]


def test_example_executor_limits_its_workers():
    spec = spec_of("vitsplice_executors")
    for workers, options, expected in ((ExecutorContract.workers, {}, 2), (0, {}, 2), (5, {"limit": 1}, 1)):
        executor = spec.build(workers, 3, complete(spec, options))
        assert (executor.workers, executor.threads) == (expected, 3)


@pytest.mark.slow
def test_example_backbones_fulfil_their_contract(tmp_path):
    backbone = spec_of("vitsplice_backbones").build(None)
    assert backbone.info.name == "mine-vit"
    contract = type("Of", (BackboneContract,), {"backbone": lambda self: backbone, "size": (32, 48)})
    assert not [result for result in contract.run_checks("shapes") if result.outcome == "failed"]
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), path)
    assert spec_of("vitsplice_backbone_for").build(path).info.name == "mine/test_vit"


def test_example_preset_and_command_work(capsys):
    assert spec_of("vitsplice_presets").path.is_file()
    spec_of("vitsplice_commands").command("losses")
    assert int(capsys.readouterr().out) >= len(TERMS)
    with pytest.raises(UserError, match="no kind 'colours'; there are backbones"):
        spec_of("vitsplice_commands").command("colours")


def test_every_kind_of_plugin_has_a_section():
    for kind in plugins.KINDS:
        article = "An" if kind.word[0] in "aeiou" else "A"
        assert f"\n## {article} {kind.word}\n" in PAGES["plugins"]
    assert "docs/plugins.md" in CONTRIBUTING


def test_the_reference_is_up_to_date():
    assert PAGES["reference"] == reference.text()


def test_every_preset_and_backbone_alias_is_on_its_page():
    assert [name for name in PRESETS if f"`{name}`" not in PAGES["presets"]] == []
    assert [name for name in ALIASES if f"`{name}`" not in PAGES["backbones"]] == []


def test_every_setting_is_on_the_page_of_presets():
    table = PAGES["presets"].partition("| setting |")[2]
    undocumented = [name for name in config.RunConfig.model_fields if f"`{name}`" not in table]
    assert undocumented == ["preset"]  # only recorded
    groups = {"backbone": "Backbone", "match": "Match", "mask": "Mask", "generator": "Generator", "terms": "Term"}
    for name, model in (groups | {"optimiser": "Optimiser", "training": "Training"}).items():
        (row,) = re.findall(rf"^\| `{name}` \| (.*) \|$", table, re.M)
        fields = {field for field in getattr(config, f"{model}Config").model_fields if "sha256" not in field}
        others = {"backbone": {"view"}, "terms": {"crop", "entire", "backbones"}}.get(name, set())
        assert set(re.findall(r"`(\w+)`", row)) - others == fields


def test_every_kind_of_issue_is_on_the_page_of_pairs():
    assert set(re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\| `.*?\|", PAGES["pairs"], re.M)))) >= set(KINDS)


@pytest.mark.usefixtures("small_metrics", "no_plots")
@pytest.mark.slow
def test_every_metric_is_on_the_page_of_evaluation_whose_code_runs(png, tmp_path):
    text = PAGES["evaluation"]
    assert [spec.name for spec in METRICS if f"| `{spec.name}` | {spec.better} |" not in text] == []
    write(tmp_path / "pairs.csv", [Pair("p", *png)])
    (tmp_path / "outputs").mkdir()
    shutil.copy(png[0], tmp_path / "outputs" / "p.png")
    (block,) = python_blocks(text)
    exec(block, {"pairs": tmp_path / "pairs.csv", "folder": tmp_path / "outputs", "out": tmp_path / "out"})
    assert (tmp_path / "out" / "gallery.html").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("coarse_match")
def test_code_on_the_page_of_training_loops_runs_and_its_table_has_every_loss():
    text = PAGES["training-loop"]
    code = "\n".join(python_blocks(text))
    assert "overrides=untrained" in code
    exec(code.replace("overrides=untrained", "overrides=[*untrained, 'match.grid=8']"), {})
    assert [spec.name for spec in TERMS if f"`{spec.name}`" not in text.partition("| term |")[2]] == []


@pytest.mark.slow
@pytest.mark.usefixtures("coarse_match")
def test_code_on_the_page_of_losses_runs():
    exec("\n".join(python_blocks(PAGES["losses"])), {})


@pytest.mark.parametrize("spec", TERMS, ids=lambda spec: spec.name)
def test_section_of_every_loss_follows_the_template_and_has_its_options(spec):
    (section,) = re.findall(rf"^## {spec.name}\n(.*?)(?=^## )", PAGES["losses"], re.M | re.S)
    parts = ("**Paper.**", "**Equation**", "**Signature.**", "| parameter | default |", "**Shapes.**", "**Example**")
    assert sorted(parts, key=section.index) == list(parts)
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section, re.M))
    assert rows == {name: str(option.default) for name, option in spec.options.items()}


@pytest.mark.slow
def test_python_code_of_readme_getting_started_and_presets_runs(png, tmp_path, monkeypatch):
    """Run the code with one step of a tiny preset, and with a tiny backbone instead of a large one."""
    monkeypatch.chdir(tmp_path)
    for path, name in zip(png, ("cow.jpg", "zebra.jpg"), strict=True):
        Image.open(path).save(name)
    splice = vitsplice.splice
    monkeypatch.setattr(
        vitsplice, "splice", lambda *images, **settings: splice(*images, **(settings | {"preset": "tiny", "steps": 1}))
    )
    code = "\n".join(python_blocks(README) + python_blocks(PAGES["getting-started"]) + python_blocks(PAGES["presets"]))
    code = code.replace("dinov2-vits14-offline", "tiny-vit").replace("terms.structure.", "terms.appearance.")
    tiny = "backbone='tiny-vit', size=64, overrides=[*TINY_SECOND, 'match.grid=8']"
    code = code.replace("structure, appearance)", f"structure, appearance, {tiny})")
    pixels = vitsplice.images.read("cow.jpg").pixels
    names = {
        "TINY_SECOND": TINY_SECOND,
        "images": ["cow.jpg"],
        "target": pixels,
        "structure": pixels,
        "appearance": pixels,
    }
    exec(code, names | {"output": pixels.clone().requires_grad_()})
    assert (tmp_path / "out" / "output.png").is_file()


@pytest.mark.slow
def test_code_on_the_page_of_models_runs(png, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny_model(tmp_path / "my-model")
    for path, name in zip((*png, png[0]), ("cow.jpg", "zebra.jpg", "dog.jpg"), strict=True):
        Image.open(path).save(name)
    names = {}
    exec(next(block for block in python_blocks(PAGES["splicenet"]) if "load_model" in block), names)
    assert names["outputs"][0].shape == (1, 3, 40, 48)


@pytest.mark.slow
def test_code_on_the_page_of_looking_inside_runs(monkeypatch):
    monkeypatch.setattr("vitsplice.matching.correspond", partial(correspond, grid=8))
    names = {}
    exec("\n".join(python_blocks(PAGES["inside"])).replace("dinov2-vits14-offline", "tiny-vit"), names)
    assert names["match"].mutual.any()
    assert names["across"].shape == names["dog"].grid


@pytest.mark.slow
def test_code_on_the_page_of_cosegmentation_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(python_blocks(PAGES["cosegment"]))
    exec(code.replace("dinov2-vits14-offline", "tiny-cnn").replace("size=224", "size=112"), {})
    assert (tmp_path / "out" / "parts" / "cosegment.json").is_file()


@pytest.mark.slow
def test_code_on_the_page_of_keypoints_runs(png, tmp_path, monkeypatch):
    """Run the code on synthetic warps of an image instead of a data set."""
    monkeypatch.chdir(tmp_path)
    (block,) = python_blocks(PAGES["keypoints"])
    code = block.replace("SPair-71k", png[0].name).replace("dinov2-vits14", "tiny-vit").replace("-4)", "-2), size=64")
    exec(code, {})
    assert (tmp_path / "out" / "summary.md").is_file()


def test_every_example_is_on_a_page_and_every_mentioned_file_exists():
    assert [path.name for path in (ROOT / "examples").glob("*.py") if path.name not in ALL] == []
    named = set(re.findall(r"\b(?:examples|tests|plugins|vitsplice|docs)/[\w./-]+\.\w+", ALL))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_python_names_in_text_exist():
    for name in sorted(set(re.findall(r"`(vitsplice(?:\.\w+)+)", ALL))):
        pkgutil.resolve_name(name)


def test_make_targets_in_the_documents_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:^\s*|`)make ([a-z-]+)", ALL, re.M))
    assert {"run", "test", "docs-site"} <= named <= targets


def test_make_n_prints_the_commands_of_run():
    process = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0
    assert "vitsplice run --force -o out/make-run" in process.stdout
