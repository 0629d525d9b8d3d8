import json

import pytest


def test_backbones_by_a_part_of_their_name(vitsplice):
    found = json.loads(vitsplice("list", "backbones", "--filter", "dino-", "--json").stdout)
    assert [row["name"] for row in found] == ["dino-vitb8", "dino-vits8", "dino-vitb16", "dino-vits16"]
    assert found[0] == {
        "name": "dino-vitb8",
        "patch": 8,
        "size": 224,
        "parameters": 85_807_872,
        "licence": "Apache-2.0",
        "weights": "hub timm/vit_base_patch8_224.dino",
        "here": "no",
        "summary": "DINO v1 ViT-B/8, the paper's",
    }


@pytest.mark.parametrize(
    ("pattern", "names"), [("*unet", ["unet", "residual-unet"]), ("p*", ["pixels", "prior", "pyramid"])]
)
def test_wildcards(vitsplice, pattern, names):
    found = json.loads(vitsplice("list", "generators", "--filter", pattern, "--json").stdout)
    assert [row["name"] for row in found] == names


@pytest.mark.parametrize("kind", ["backbones", "losses", "generators", "metrics", "presets", "executors"])
def test_every_kind_has_a_table(vitsplice, kind):
    done = vitsplice("list", kind)
    assert done.returncode == 0
    assert "summary" in done.stdout


def test_nothing_of_that_name(vitsplice):
    done = vitsplice("list", "losses", "--filter", "zzz")
    assert done.returncode == 2
    assert "no losses match 'zzz'" in done.stderr
    assert "'things' is not one of" in vitsplice("list", "things").stderr
