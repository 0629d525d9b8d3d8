"""The nodes in ComfyUI itself, where it is importable: it is not on PyPI, so its folder has to be in PYTHONPATH."""

import coroutines
import pytest
import torch

from tests.conftest import noise


@pytest.mark.filterwarnings("default")
def test_schemas_are_valid_and_nodes_run_in_comfyui():
    pytest.importorskip("comfy_api.latest", reason="ComfyUI is not importable")
    from comfy.cli_args import args

    args.cpu = True
    from vitsplice_comfyui import comfy_entrypoint

    images = noise(2, 40, 48, 3)
    settings = {
        "VitspliceTransfer": {"structure": images, "appearance": images[:1], "preset": "tiny", "steps": 1},
        "VitspliceCorrespond": {"first": images, "second": images[:1], "grid": 5},
        "VitsplicePCA": {"images": images, "size": 48},
    }
    nodes = coroutines.run(coroutines.run(comfy_entrypoint()).get_node_list())
    for node in nodes:
        schema = node.GET_SCHEMA()
        info = node.GET_NODE_INFO_V1()
        defaults = {name: options.get("default") for name, (_, options) in info["input"]["required"].items()}
        inputs = defaults | {"backbone": "tiny-vit"} | settings.pop(schema.node_id)
        with torch.inference_mode():
            outputs = node.EXECUTE_NORMALIZED(**inputs).args
        assert [len(output) for output in outputs] == [2] * len(info["output"])
    assert settings == {}
