"""Stand-ins for ComfyUI, without this plugin and with it, loaded from its folder."""

import sys
from pathlib import Path

import pytest
from fake_comfyui import FakeComfyUI

PLUGIN = Path(__file__).parents[1]


@pytest.fixture
def empty_comfyui(monkeypatch, tmp_path):
    """ComfyUI without this plugin; the modules of the nodes that it loads are removed afterwards."""
    fake = FakeComfyUI(tmp_path)
    before = dict(sys.modules)
    for name, module in fake.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    yield fake
    for name in set(sys.modules) - set(before):
        if "vitsplice_comfyui" in name or "custom_nodes" in name:
            del sys.modules[name]


@pytest.fixture
def comfyui(empty_comfyui):
    empty_comfyui.load(PLUGIN)
    return empty_comfyui
