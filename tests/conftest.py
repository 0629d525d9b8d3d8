"""What tests share: the tiny backbones, small pictures, and the folder of shared photographs."""

import os
from pathlib import Path

import pytest
import torch
import vitsplice_tiny

from vitsplice.images import encode_png
from vitsplice.plugins import catalogue

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _sealed(monkeypatch, tmp_path_factory):
    """No hub, no cache of the user's: what a test writes goes to its own folders."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if "VITSPLICE_CACHE" not in os.environ:
        monkeypatch.setenv("VITSPLICE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _fresh_catalogue():
    catalogue.cache_clear()
    yield
    catalogue.cache_clear()


@pytest.fixture(scope="session")
def vit():
    return vitsplice_tiny.tiny_vit()


@pytest.fixture(scope="session")
def cnn():
    return vitsplice_tiny.tiny_cnn()


@pytest.fixture(params=["vit", "cnn"])
def backbone(request):
    return request.getfixturevalue(request.param)


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture
def pair():
    """A structure image and an appearance image, smooth enough to have some structure, (1, 3, 40, 48)."""
    grids = [noise(1, 3, 5, 6, seed=seed) for seed in (1, 2)]
    return tuple(torch.nn.functional.interpolate(g, size=(40, 48), mode="bilinear", align_corners=False) for g in grids)


@pytest.fixture
def png(pair, tmp_path):
    paths = [tmp_path / "structure.png", tmp_path / "appearance.png"]
    for path, pixels in zip(paths, pair, strict=True):
        path.write_bytes(encode_png(pixels))
    return paths


@pytest.fixture(scope="session")
def shared():
    """The folder with the oracle and photographs that are not part of the project."""
    if not (SHARED / "oracle" / "oracle.json").is_file():
        pytest.skip("the folder of shared photographs and oracle numbers is not beside this checkout")
    return SHARED
