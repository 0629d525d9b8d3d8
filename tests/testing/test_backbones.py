"""Backbones that keep the contract in less usual ways."""

import pytest
import vitsplice_tiny

from vitsplice.contracts import FeatureRequest
from vitsplice.errors import ConfigError
from vitsplice.testing import BackboneContract


def vit():
    roles = {"structure": FeatureRequest("token", -2), "appearance": FeatureRequest("pooled", 1)}
    return vitsplice_tiny.tiny_vit(**roles)


def cnn():
    roles = {"structure": FeatureRequest("map", -3), "appearance": FeatureRequest("pooled", -2)}
    return vitsplice_tiny.tiny_cnn(**roles)


@pytest.mark.parametrize("build", [vit, cnn], ids=["ViT", "CNN"])
def test_a_backbone_whose_roles_are_at_layers_between_first_and_last_keeps_the_contract(build):
    backbone = build()
    contract = type("Of", (BackboneContract,), {"backbone": lambda self: backbone})
    assert [(one.check, one.why) for one in contract.verdicts() if one.outcome == "broken"] == []


def test_a_block_number_becomes_the_layer_counted_from_the_end():
    assert vit().info.appearance == FeatureRequest("pooled", -2)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"structure": FeatureRequest("cls")}, "structure=.* needs a local facet: key, query"),
        ({"appearance": FeatureRequest("key")}, "appearance=.* needs a global facet: cls, pooled"),
        ({"structure": FeatureRequest("key", 3)}, "has no layer 3; it has 0 to 2, which are also -3 to -1"),
        ({"structure": FeatureRequest("map")}, "has no facet 'map'"),
    ],
)
def test_a_role_that_does_not_suit_is_refused(roles, message):
    with pytest.raises(ConfigError, match=message):
        vitsplice_tiny.tiny_vit(**roles)
