import pytest

from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UserError
from vitsplice.keypoints.grid import lookers, requests_of

ViT, CNN = "tiny-vit", "tiny-cnn"


def asked(*args, **kwargs):
    return {looker.info.name: [str(request) for request in looker.requests] for looker in lookers(*args, **kwargs)}


def test_facets_and_layers_of_several_backbones_and_what_one_has_not_is_told():
    notes = []
    assert asked([ViT, CNN, ViT], ["key", "token", "map"], [-1, -2, -5], notes.append) == {
        ViT: ["key[-1]", "key[-2]", "token[-1]", "token[-2]"],
        CNN: ["map[-1]", "map[-2]", "map[-5]"],
    }
    assert notes == [f"{ViT} has no facet map, layer -5", f"{CNN} has no facet key, facet token"]


def test_without_facets_the_backbone_s_own_and_without_layers_all(vit):
    assert asked([ViT, CNN], [], [-1]) == {ViT: ["key[-1]"], CNN: ["map[-1]"]}
    assert asked([ViT], [], []) == {ViT: ["key[-3]", "key[-2]", "key[-1]"]}
    assert requests_of(vit.info, [], [0, -3])[0] == (FeatureRequest("key", -3),)


@pytest.mark.parametrize(
    ("backbones", "facets", "layers", "told"),
    [
        ([ViT], ["cls"], [-1], "no places"),
        ([ViT], ["kee"], [-1], "no facet kee; it has key, query, value, token"),
        ([ViT, CNN], ["key"], [-1], "'tiny-cnn' has no facet key; it has map"),
        ([ViT], [], [-4], "no layer -4; it has 0 to 2, which are also -3 to -1"),
        (["tiny-vitt"], [], [-1], "tiny-vit"),
    ],
)
def test_mistakes(backbones, facets, layers, told):
    with pytest.raises(UserError, match=told):
        lookers(backbones, facets, layers)
