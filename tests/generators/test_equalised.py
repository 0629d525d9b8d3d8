import pytest
import torch

from vitsplice.generators.equalised import EqualisedConv2d, EqualisedLinear
from vitsplice.rng import private_rng, stream


def normal(*shape):
    return torch.randn(*shape, generator=stream(0, "equalised"))


@pytest.mark.parametrize(("inputs", "gain", "rate"), [(16, 1, 1), (256, 1, 1), (64, 2, 1), (64, 1, 0.01)])
def test_linear_layer_has_the_gain_whatever_its_inputs_and_rate(inputs, gain, rate):
    with private_rng(0):
        layer = EqualisedLinear(inputs, 64, gain, bias=3, rate=rate)
    output = layer(normal(500, inputs)).detach()
    assert float(output.mean()) == pytest.approx(3, abs=0.1)
    assert float(output.std()) == pytest.approx(gain, rel=0.1)


def test_rate_multiplies_the_effect_of_an_update():
    changes = []
    for rate in (1.0, 0.01):
        with private_rng(0):
            layer = EqualisedLinear(32, 8, rate=rate)
        values = normal(4, 32)
        before = layer(values)
        with torch.no_grad():
            layer.weight += 0.1
            layer.bias += 0.1
        changes.append(layer(values) - before)
    torch.testing.assert_close(changes[1], 0.01 * changes[0], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(("inputs", "kernel"), [(4, 3), (64, 3), (64, 1)])
def test_convolution_has_the_gain_whatever_its_inputs_and_kernel(inputs, kernel):
    with private_rng(0):
        layer = EqualisedConv2d(inputs, 16, kernel, gain=1.5)
    assert float(layer(normal(2, inputs, 40, 40)).detach().std()) == pytest.approx(1.5, rel=0.15)


@pytest.mark.parametrize(("stride", "size"), [(1, (9, 10)), (2, (5, 5))])
def test_convolution_divides_the_size_by_the_stride(stride, size):
    assert EqualisedConv2d(3, 4, 3, stride)(normal(1, 3, 9, 10)).shape == (1, 4, *size)


def test_convolution_with_a_gain_of_zero_is_zero():
    assert not EqualisedConv2d(3, 4, 3, gain=0)(normal(1, 3, 9, 9)).any()
