import pytest

from vitsplice.metrics.loss_terms import measure
from vitsplice.plugins import catalogue

BUILT_IN = [catalogue().losses[name] for name in ("appearance", "structure", "identity")]


def values(backbone, images, size=32):
    return {m.term: m.value for m in measure(*images, backbone, BUILT_IN, size)}


def test_zero_where_the_output_is_the_target(backbone, pair):
    structure, appearance = pair
    same = values(backbone, (structure, appearance, structure), 40)
    assert same["structure"] == 0
    assert same["appearance"] > 0
    other = values(backbone, (structure, appearance, appearance), 40)
    assert other["appearance"] == other["identity"] == 0
    assert other["structure"] > 0


def test_images_of_other_sizes_are_brought_to_the_structure_image_s(vit, pair):
    structure, appearance = pair
    assert values(vit, (structure, appearance[..., :30, :20], structure[..., :28, :])).keys() == {
        "appearance",
        "structure",
        "identity",
    }


def test_it_says_what_was_compared(vit, pair):
    found = {m.term: m for m in measure(*pair, pair[0], vit, BUILT_IN, 32)}
    assert found["structure"].against == "structure"
    assert found["identity"].against == found["appearance"].against == "appearance"
    assert found["structure"].requests == ("key at layer 2 (-1)",)
    assert found["structure"].value == pytest.approx(0, abs=1e-12)
