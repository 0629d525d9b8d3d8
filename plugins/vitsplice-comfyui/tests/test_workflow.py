"""Installation of the nodes, their metadata, and the example workflow."""

import tomllib
from pathlib import Path

import pytest

from tests.conftest import write_pair
from vitsplice.images import read

PLUGIN = Path(__file__).parents[1]
WORKFLOW = PLUGIN / "example_workflows" / "vitsplice.json"
TINY = {"preset": "tiny", "backbone": "tiny-vit", "size": 32, "steps": 2, "grid": 8}


def test_nodes_load_from_the_folder_and_from_an_installed_package(empty_comfyui, tmp_path):
    folder = tmp_path / "custom_nodes" / "vitsplice-0.1"
    folder.parent.mkdir()
    folder.symlink_to(PLUGIN)
    empty_comfyui.load(folder)
    from_folder = {name for name in empty_comfyui.nodes if name.startswith("Vitsplice")}
    file = tmp_path / "custom_nodes" / "vitsplice_nodes.py"
    file.write_text("from vitsplice_comfyui import comfy_entrypoint\n")
    before = dict(empty_comfyui.nodes)
    empty_comfyui.load(file)
    replaced = {name for name, node in empty_comfyui.nodes.items() if before.get(name) is not node}
    assert replaced == from_folder == {"VitspliceTransfer", "VitspliceCorrespond", "VitsplicePCA"}


def test_requirements_are_those_of_the_package():
    settings = tomllib.loads((PLUGIN / "pyproject.toml").read_text())
    assert (PLUGIN / "requirements.txt").read_text().split() == settings["project"]["dependencies"]


@pytest.mark.slow
def test_example_workflow_has_the_inputs_and_types_of_the_nodes_and_runs(comfyui, tmp_path):
    write_pair(tmp_path)
    prompt = comfyui.prompt(WORKFLOW)
    comfyui.check(prompt)
    for node in prompt.values():
        node["inputs"] |= {name: value for name, value in TINY.items() if name in node["inputs"]}
    outputs = comfyui.execute(prompt)
    assert read(tmp_path / "vitsplice_00001_.png").pixels.shape == (1, 3, 32, 38)
    shown = [output.ui["images"] for output in outputs.values() if output.ui]
    assert len(shown) == 4
    assert all(0 <= images.min() <= images.max() <= 1 for images in shown)


@pytest.mark.parametrize(
    ("node", "name", "value"),
    [("3", "preset", "no-such-preset"), ("3", "structure", ["1", 1]), ("5", "grid", 1), ("8", "no_such_input", 1)],
)
def test_workflow_with_a_wrong_value_or_link_is_refused(comfyui, tmp_path, node, name, value):
    write_pair(tmp_path)
    prompt = comfyui.prompt(WORKFLOW)
    prompt[node]["inputs"][name] = value
    with pytest.raises(ValueError, match=name):
        comfyui.check(prompt)
