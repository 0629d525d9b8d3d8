import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import vitsplice_tiny

from vitsplice.config import BackboneConfig
from vitsplice.errors import WeightsUnavailable
from vitsplice.plugins import catalogue
from vitsplice.runs.backbone_cache import BackboneCache, BackboneLoader

CPU = torch.device("cpu")


def got(networks, name, precision="float32", **more):
    return networks.backbone(BackboneConfig(name=name, **more), catalogue(), CPU, precision)


def test_kept_ones_are_the_same_object_and_others_are_loaded_anew():
    kept, plain = BackboneCache(), BackboneLoader()
    assert got(kept, "tiny-vit")[0] is got(kept, "tiny-vit")[0]
    assert got(plain, "tiny-vit")[0] is not got(plain, "tiny-vit")[0]


def test_several_threads_load_a_network_once():
    kept, loads = BackboneCache(most=1), []

    def slow(weights):
        loads.append(weights)
        time.sleep(0.05)
        return vitsplice_tiny.tiny_vit()

    spec = replace(catalogue().backbone("tiny-vit"), build=slow)
    known = replace(catalogue(), backbones={"tiny-vit": spec})
    config = BackboneConfig(name="tiny-vit")
    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda _: kept.backbone(config, known, CPU, "float32")[0], range(8)))
    assert len(loads) == 1
    assert all(network is given[0] for network in given)


def test_each_precision_is_one_of_its_own():
    kept = BackboneCache()
    single = got(kept, "tiny-vit")[0]
    image = torch.full((1, 3, 32, 32), 0.5)
    before = single(image, [single.info.structure])[single.info.structure].values
    half = got(kept, "tiny-vit", "bfloat16")[0]
    assert half is not single
    assert torch.equal(single(image, [single.info.structure])[single.info.structure].values, before)


def test_the_one_used_longest_ago_goes():
    kept = BackboneCache(most=2)
    vit, cnn = got(kept, "tiny-vit")[0], got(kept, "tiny-cnn")[0]
    assert got(kept, "tiny-vit")[0] is vit
    got(kept, "tiny-vit", "bfloat16")
    assert got(kept, "tiny-vit")[0] is vit
    assert got(kept, "tiny-cnn")[0] is not cnn


def test_what_stands_in_is_kept_with_the_reason_and_what_cannot_be_had_is_tried_again():
    kept = BackboneCache()
    for _ in range(2):
        backbone, substitution = got(kept, "tiny-gone", fallback=("tiny-vit",))
        assert (backbone.info.name, substitution.wanted) == ("tiny-vit", "tiny-gone")
        with pytest.raises(WeightsUnavailable):
            got(kept, "tiny-gone")
