import pytest
import torch
import torch.nn.functional as F

from tests.conftest import noise
from vitsplice.generators.modulation import EPSILON, MappingNetwork, ModulatedConv2d, modulated_conv2d
from vitsplice.rng import private_rng, stream


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=stream(seed, "modulation"), dtype=torch.float64)


def grouped_conv2d(images, weight, scales, demodulate):
    """Modulated convolution as in Karras et al. 2020: weights and a group for each sample."""
    batch, inputs, height, width = images.shape
    weights = scales[:, None, :, None, None] * weight
    if demodulate:
        weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + EPSILON).sqrt()
    margin = weight.shape[-1] // 2
    padded = F.pad(images, (margin,) * 4, mode="replicate").reshape(1, batch * inputs, height + 2 * margin, -1)
    output = F.conv2d(padded, weights.flatten(0, 1), groups=batch)
    return output.reshape(batch, -1, height, width)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_scaled_inputs_and_outputs_equal_a_grouped_convolution(kernel, demodulate):
    images, weight, scales = normal(3, 4, 7, 6), normal(5, 4, kernel, kernel, seed=1), normal(3, 4, seed=2)
    bias = normal(5, seed=3)
    output = modulated_conv2d(images, weight, scales, bias, demodulate=demodulate)
    expected = grouped_conv2d(images, weight, scales, demodulate) + bias[:, None, None]
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("demodulate", [True, False])
def test_gradients_agree_with_finite_differences(demodulate):
    shapes = (2, 3, 4, 5), (2, 3, 3, 3), (2, 3), (2,)
    tensors = [normal(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(lambda *t: modulated_conv2d(*t, demodulate=demodulate), tensors)


def test_demodulated_output_has_unit_variance_whatever_the_scale_of_weights_and_modulation():
    images, weight = normal(2, 16, 64, 64), 7 * normal(8, 16, 3, 3, seed=1)
    output = modulated_conv2d(images, weight, 5 * normal(2, 16, seed=2), images.new_zeros(8), demodulate=True)
    torch.testing.assert_close(output.std((2, 3)), torch.ones(2, 8).double(), atol=0.1, rtol=0)


def test_modulation_is_initially_distributed_around_one():
    with private_rng(0):
        conv = ModulatedConv2d(1000, 1, 1, 64)
    assert torch.equal(conv.affine.bias, torch.ones(1000))
    scales = conv.affine(normal(1, 64).float()).detach()
    assert scales.mean() == pytest.approx(1, abs=0.15)
    assert scales.std() == pytest.approx(1, abs=0.3)


def test_mapping_network_ignores_the_norm_of_the_feature():
    with private_rng(0):
        network = MappingNetwork(32)
    feature = noise(2, 32)
    assert network(feature).shape == (2, 768)
    torch.testing.assert_close(network(feature), network(3 * feature))


def test_mapping_network_has_two_layers_of_width_768():
    assert sum(p.numel() for p in MappingNetwork(384).parameters()) == (384 + 1) * 768 + (768 + 1) * 768
