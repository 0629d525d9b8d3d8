import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import vitsplice_tiny

from vitsplice.config import BackboneConfig
from vitsplice.engine.backbones import BackboneCache, BackboneLoader, FixedBackbone, load_settings
from vitsplice.errors import Setting, UserError, WeightsUnavailable
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for

CPU = torch.device("cpu")


def load(loader, name, precision="float32", **more):
    return loader.load(BackboneConfig(name=name, **more), catalogue(), CPU, precision)


def test_cache_returns_the_same_object_and_loader_a_new_one():
    cache, loader = BackboneCache(), BackboneLoader()
    assert load(cache, "tiny-vit")[0] is load(cache, "tiny-vit")[0]
    assert load(loader, "tiny-vit")[0] is not load(loader, "tiny-vit")[0]


def test_backbone_is_loaded_by_name_as_by_its_settings():
    cache = BackboneCache()
    assert cache.named("tiny-vit", "cpu") == (load(cache, "tiny-vit")[0], None)
    with pytest.raises(WeightsUnavailable):
        cache.named("tiny-gone", "cpu")


def test_concurrent_threads_load_a_backbone_once():
    cache, loads = BackboneCache(size=1), []

    def slow(weights):
        loads.append(weights)
        time.sleep(0.05)
        return vitsplice_tiny.tiny_vit()

    spec = replace(catalogue().backbones["tiny-vit"], build=slow)
    known = replace(catalogue(), backbones={"tiny-vit": spec})
    config = BackboneConfig(name="tiny-vit")
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: cache.load(config, known, CPU, "float32")[0], range(8)))
    assert len(loads) == 1
    assert all(network is loaded[0] for network in loaded)


def test_each_precision_is_cached_separately():
    cache = BackboneCache()
    single = load(cache, "tiny-vit")[0]
    image = torch.full((1, 3, 32, 32), 0.5)
    before = single(image, [single.info.structure])[single.info.structure].values
    half = load(cache, "tiny-vit", "bfloat16")[0]
    assert half is not single
    assert torch.equal(single(image, [single.info.structure])[single.info.structure].values, before)


def test_backbone_that_is_first_used_in_inference_mode_can_be_trained_against_later():
    cache = BackboneCache()
    with torch.inference_mode():
        backbone = load(cache, "tiny-vit", "bfloat16")[0]
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    backbone(image, [backbone.info.structure])[backbone.info.structure].values.sum().backward()
    assert image.grad is not None


def test_loaded_backbone_that_was_cast_is_refused():
    with pytest.raises(UserError, match="'tiny-vit' was cast to torch.bfloat16 and lost precision; load it again"):
        FixedBackbone(vitsplice_tiny.tiny_vit().to(CPU, torch.bfloat16))


def test_least_recently_used_backbone_is_evicted():
    cache = BackboneCache(size=2)
    vit, cnn = load(cache, "tiny-vit")[0], load(cache, "tiny-cnn")[0]
    assert load(cache, "tiny-vit")[0] is vit
    load(cache, "tiny-vit", "bfloat16")
    assert load(cache, "tiny-vit")[0] is vit
    assert load(cache, "tiny-cnn")[0] is not cnn


def test_fallback_is_cached():
    cache = BackboneCache()
    backbone, substitution = load(cache, "tiny-gone", fallback=("tiny-vit",))
    assert (backbone.info.name, substitution.requested) == ("tiny-vit", "tiny-gone")
    assert load(cache, "tiny-gone", fallback=("tiny-vit",))[0] is backbone


def test_failed_load_is_retried():
    cache, backbones = BackboneCache(), catalogue().backbones
    with pytest.raises(WeightsUnavailable):
        load(cache, "tiny-gone")
    available = replace(backbones["tiny-gone"], build=backbones["tiny-vit"].build)
    known = replace(catalogue(), backbones={"tiny-gone": available})
    assert cache.load(BackboneConfig(name="tiny-gone"), known, CPU, "float32")[0].info.name == "tiny-vit"


@pytest.mark.parametrize("native", [False, True])
def test_settings_record_the_precision_that_auto_means_here(monkeypatch, native):
    monkeypatch.setattr("vitsplice.engine.device._has_native_bfloat16", lambda device: native)
    settings = settings_for("tiny", device="cpu", overrides=["backbone.name=tiny-vit", "backbone.precision=auto"])
    loaded = load_settings(settings, BackboneLoader(), catalogue()).settings
    assert loaded.backbone.precision == ("bfloat16" if native else "float32")


@pytest.mark.parametrize(("key", "advice"), [("vit", "backbone.weights=FILE"), ("cnn", "backbones.cnn.weights=FILE")])
def test_advice_about_missing_weights_names_the_key_of_the_backbone(key, advice):
    def unavailable(weights):
        raise WeightsUnavailable("no weights; give a file with ", Setting("backbone.weights", "FILE"))

    parts = catalogue().backbones
    gone = replace(parts[f"tiny-{key}"], build=unavailable)
    known = replace(catalogue(), backbones={**parts, gone.name: gone})
    names = ["backbones.vit.name=tiny-vit", "backbones.cnn.name=tiny-cnn"]
    with pytest.raises(WeightsUnavailable) as error:
        load_settings(settings_for("instant", device="cpu", overrides=names), BackboneLoader(), known)
    assert str(error.value) == f"no weights; give a file with {advice}"
