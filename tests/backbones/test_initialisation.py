"""Creation of networks without random values."""

import pytest
import timm
import torch
from torch import nn

from vitsplice.backbones.initialisation import SkipInitialisation
from vitsplice.rng import private_rng, seeded

NETWORKS = {
    "vit_tiny_patch16_224": {"embed_dim": 16, "depth": 1, "num_heads": 1},
    "swinv2_tiny_window8_256": {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)},
    "cait_xxs24_224": {"embed_dim": 16, "depth": 1, "depth_token_only": 1, "num_heads": 1},
    "convnext_tiny": {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)},
    "test_resnet": {},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_numbers_are_drawn_and_the_loaded_network_is_the_same(name):
    with private_rng(0):
        usual = timm.create_model(name, **NETWORKS[name])
    rng = seeded(1)
    with private_rng(rng), SkipInitialisation():
        network = timm.create_model(name, **NETWORKS[name])
    network.load_state_dict(dict(usual.named_parameters()), strict=False)

    assert torch.equal(rng.get_state(), seeded(1).get_state())
    images = torch.rand(1, 3, *usual.pretrained_cfg["input_size"][1:], generator=seeded(2))
    with torch.no_grad():
        assert torch.equal(network.eval()(images), usual.eval()(images))


def test_buffers_and_tensors_are_initialised_as_usual():
    with private_rng(0), SkipInitialisation():
        norm, tensor = nn.BatchNorm2d(2), nn.init.ones_(torch.empty(2)).add_(1)
    assert norm.running_var.tolist() == [1, 1]
    assert tensor.tolist() == [2, 2]


@pytest.mark.parametrize("initialise", [nn.init.kaiming_uniform_, nn.init.xavier_normal_, nn.init.trunc_normal_])
def test_parameters_keep_their_values(initialise):
    parameter = nn.Parameter(torch.ones(2, 2))
    with SkipInitialisation():
        assert initialise(parameter) is parameter
        assert initialise(tensor=parameter) is parameter
    assert torch.equal(parameter, torch.ones(2, 2))


def test_operations_on_loaded_parameters_are_not_skipped():
    parameter = nn.Parameter(torch.zeros(2))
    with torch.no_grad(), SkipInitialisation():
        parameter.copy_(torch.ones(2)).add_(1)
    assert parameter.tolist() == [2, 2]
