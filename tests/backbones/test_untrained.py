import pytest
import torch

from tests.conftest import noise
from vitsplice.backbones import untrained
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UnknownName, UserError
from vitsplice.plugins import catalogue


@pytest.mark.parametrize("timm_name", ["test_vit", "test_resnet", "test_convnext"])
def test_the_same_random_network_each_time(timm_name):
    one, two = (catalogue().backbones[f"untrained-{timm_name}"].build(None) for _ in range(2))
    request = one.info.structure
    image = noise(1, 3, 160, 160)
    assert torch.equal(one(image, [request])[request].values, two(image, [request])[request].values)
    assert one.info.source == "random weights"


def test_no_residual_branch_is_shut():
    weights = untrained.random_weights("test_vit2")
    scales = [value for name, value in weights.items() if name.endswith(".gamma")]
    assert scales
    assert all((value == 1).all() for value in scales)


def test_aliases_are_known_and_nonsense_is_not():
    assert untrained.spec_for("untrained-dino-vits8").summary == "timm vit_small_patch8_224.dino, untrained"
    assert untrained.spec_for("dino-vits8") is None
    with pytest.raises(UnknownName):
        catalogue().backbones["untrained-nonsense"]


def test_a_file_of_weights_is_refused(tmp_path):
    with pytest.raises(UserError, match="leave out 'untrained-'"):
        untrained.spec_for("untrained-test_vit").build(tmp_path / "weights")


def test_it_looks_at_the_image():
    network = untrained.spec_for("untrained-test_vit").build(None)
    cls = FeatureRequest("cls")
    one, two = (network(noise(1, 3, 160, 160, seed=s), [cls])[cls].values for s in (0, 1))
    assert (one - two).abs().max() > 1e-3
