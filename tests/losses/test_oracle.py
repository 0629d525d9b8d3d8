"""Losses and features against the released Splice code: within 1e-3 relative, plus 2e-3 absolute for features."""

import json

import pytest
import torch

from vitsplice.api import load_backbone
from vitsplice.backbones.vit import TimmViT
from vitsplice.contracts import FeatureRequest
from vitsplice.images import read
from vitsplice.losses.functional import appearance_loss, identity_loss, self_similarity, structure_loss

pytestmark = pytest.mark.weights
CLS, KEY = FeatureRequest("cls"), FeatureRequest("key")


@pytest.fixture(scope="module")
def dino():
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    return load_backbone("dinov2-vits14-offline")


@pytest.fixture(scope="module")
def prenorm(dino):
    return TimmViT(dino.model, name="pre", licence="", source="", cls_normalised=False)


@pytest.fixture(params=["cows", "horse-zebra"])
def case(request, shared):
    numbers = json.loads((shared / "oracle" / "oracle.json").read_text())["pairs"][request.param]
    images = [
        read(shared / "oracle" / f"{request.param}_{role}_224.png").pixels for role in ("structure", "appearance")
    ]
    return numbers, images


def near(value):
    return pytest.approx(value, rel=1e-3)


def test_losses_equal_the_released_code(case, dino, prenorm):
    numbers, (structure, appearance) = case
    target, output = dino(structure, [KEY, CLS]), dino(appearance, [KEY, CLS])
    assert structure_loss(output[KEY].values, target[KEY].values).item() == near(numbers["structure_loss_mse"])
    assert identity_loss(output[KEY].values, target[KEY].values).item() == near(numbers["identity_loss_mse"])
    post = appearance_loss(output[CLS].values, target[CLS].values).item()
    pre = appearance_loss(prenorm(appearance, [CLS])[CLS].values, prenorm(structure, [CLS])[CLS].values).item()
    assert post == near(numbers["appearance_loss_mse_postnorm"])
    assert pre == near(numbers["appearance_loss_mse_prenorm"])


def test_features_equal_the_released_code(case, dino, prenorm):
    numbers, (structure, _) = case
    numbers = numbers["structure_image"]
    features = dino(structure, [KEY, CLS])
    keys, similarity = features[KEY].values[0], self_similarity(features[KEY].values)
    assert list(similarity.shape) == numbers["self_similarity_shape"]
    assert similarity.mean().item() == near(numbers["self_similarity_mean"])
    for values, name in [
        (similarity[0, 100], "self_similarity_row_100_first_8"),
        (keys[0], "keys_row_0_first_8"),
        (keys[100], "keys_row_100_first_8"),
        (features[CLS].values[0], "cls_postnorm_first_8"),
        (prenorm(structure, [CLS])[CLS].values[0], "cls_prenorm_first_8"),
    ]:
        torch.testing.assert_close(values[:8], torch.tensor(numbers[name]), rtol=1e-3, atol=2e-3)
