import pytest
import torch

from vitsplice.errors import ConfigError
from vitsplice.losses import AppearanceLoss, IdentityLoss, StructureLoss


@pytest.mark.parametrize("module", [AppearanceLoss, StructureLoss, IdentityLoss])
def test_a_module_drops_into_a_training_loop(module, backbone, pair):
    output, target = pair[0].clone().requires_grad_(), pair[1].clone().requires_grad_()
    loss = module(backbone, size=32)
    optimiser = torch.optim.SGD([output], lr=0.0)
    value = loss(output, target)
    value.backward()
    optimiser.step()
    assert value.shape == ()
    assert output.grad.abs().sum() > 0
    assert target.grad is None
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert loss(output, output).item() == 0


def test_pictures_of_another_aspect_are_resized_to_what_fits(vit, pair):
    assert StructureLoss(vit, size=24)(*(p[..., :33, :] for p in pair)).item() > 0


def test_size_none_takes_pictures_as_they_are(vit, pair):
    exact = tuple(p[..., :32, :40] for p in pair)
    assert StructureLoss(vit, size=None)(*exact).item() > 0


def test_a_wrong_option_is_told(vit):
    with pytest.raises(ConfigError, match="foam: 'structure' has no such option.*Did you mean form"):
        StructureLoss(vit, foam="mse")
