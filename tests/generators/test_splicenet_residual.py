import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import noise
from tests.generators.receptive_field import receptive_radius
from vitsplice.generators.splicenet_residual import Clamp, SpliceNetResidual, build, resample
from vitsplice.rng import private_rng

FEATURES = {"cls": 12, "warped": 10}
GRID = (5, 6)


def make(channels=(4, 6, 8), *, trained=False, features=FEATURES):
    with private_rng(0):
        generator = SpliceNetResidual(features, channels, vector=16)
        if trained:  # training changes the last layer, whose weights are 0 before it
            torch.nn.init.normal_(generator.last.weight, std=0.3)
    return generator


def condition(height, width, batch=1, grid=GRID, features=FEATURES):
    return {
        "start": noise(batch, 3, height, width, seed=1),
        "warped": noise(batch, features["warped"], *grid, seed=2),
        "cls": noise(batch, features["cls"], seed=3),
    }


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 90), (31, 33)])
def test_untrained_output_is_the_start_to_the_byte(size):
    values = condition(*size, batch=2)
    values["start"][:, :, 0] = torch.tensor([0.0, 1.0])[:, None, None]
    output = make()(noise(2, 3, *size), values)
    assert torch.equal(output.view(torch.int32), values["start"].view(torch.int32))


@pytest.mark.parametrize("size", [(1, 1), (17, 90), (31, 33)])
def test_trained_output_is_an_image_of_the_same_size(size):
    values = condition(*size)
    output = make(trained=True)(noise(1, 3, *size), values)
    assert output.shape == values["start"].shape
    assert output.min() >= 0
    assert output.max() <= 1
    assert not torch.equal(output, values["start"])


def test_borders_of_a_uniform_image_do_not_show():
    """Zero padding would change the output near the borders."""
    values = condition(32, 40)
    for name in ("start", "warped"):
        values[name] = values[name].mean((-2, -1), keepdim=True).expand_as(values[name])
    output = make(trained=True)(torch.full((1, 3, 32, 40), 0.4), values)
    torch.testing.assert_close(output, output[..., 16:17, 20:21].expand_as(output))


@pytest.mark.slow
@pytest.mark.parametrize(("start", "target"), [(0.0, 0.4), (1.0, 0.6)])
def test_black_and_white_starts_can_be_corrected(start, target):
    generator, structure = make(), noise(1, 3, 32, 40)
    values = condition(32, 40) | {"start": torch.full_like(structure, start)}
    optimiser = torch.optim.Adam(generator.parameters(), lr=0.02)
    for _ in range(30):
        optimiser.zero_grad()
        loss = (generator(structure, values) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.05 * 0.4**2


def test_gradient_of_the_clamp_is_zero_only_if_a_step_leads_further_outside():
    values = torch.tensor([-1.0, -1, 0, 0.5, 1, 2, 2], requires_grad=True)
    output = Clamp.apply(values)
    assert torch.equal(output, values.clamp(0, 1))
    gradient = torch.tensor([1.0, -1, 1, 1, -1, 1, -1])
    output.backward(gradient)
    assert torch.equal(values.grad, torch.tensor([0.0, -1, 1, 1, -1, 1, 0]))


def test_every_parameter_has_a_gradient_once_the_last_layer_is_not_zero():
    generator = make(trained=True)
    generator(noise(1, 3, 32, 40), condition(32, 40)).square().mean().backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_reach_is_the_radius_of_the_receptive_field():
    generator = make(trained=True)
    side = 2 * generator.reach + 16
    structure, values = noise(1, 3, side, side), condition(side, side)
    radius = receptive_radius(lambda image: generator(image, values), structure, generator.multiple)
    assert generator.reach - 2 * generator.multiple < radius <= generator.reach


def test_inner_part_of_a_tile_with_a_margin_of_the_reach_equals_that_of_the_entire_image():
    generator, cell = make(trained=True), 8
    margin = -(-generator.reach // cell) * cell  # the reach, rounded up to whole cells
    height, width = 3 * margin, 4 * margin
    structure, values = noise(1, 3, height, width), condition(height, width, grid=(height // cell, width // cell))
    whole = generator(structure, values)
    top, left, bottom, right = 0, margin, 2 * margin + 8, 3 * margin + 16
    tile = {
        "start": values["start"][..., top:bottom, left:right],
        "warped": values["warped"][..., top // cell : bottom // cell, left // cell : right // cell],
        "cls": values["cls"],
    }
    output = generator(structure[..., top:bottom, left:right], tile)
    inner = output[..., : margin + 8, margin : margin + 16]
    torch.testing.assert_close(inner, whole[..., : margin + 8, 2 * margin : 2 * margin + 16], atol=1e-6, rtol=0)


def test_scale_of_warped_features_has_no_effect():
    generator, structure, values = make(trained=True), noise(1, 3, 32, 40), condition(32, 40)
    scaled = values | {"warped": 100 * values["warped"]}
    torch.testing.assert_close(generator(structure, scaled), generator(structure, values))


def test_maps_are_not_stretched_over_the_padding_of_the_last_cell():
    """The interpolated values of a ramp are the positions of the cells' centres."""
    ramp = ((torch.arange(12.0) + 0.5) / 12).expand(1, 1, 6, 12)
    values = resample(ramp, (24, 49), 4)
    centres = (torch.arange(13) + 0.5) * 4 / 49
    assert values.shape[-2:] == (6, 13)
    torch.testing.assert_close(values[0, 0, :, 1:-1], centres[1:-1].expand(6, -1))


@pytest.mark.slow
def test_default_options_cost_at_most_30_gflop_at_512_px():
    features = {"cls": 384, "warped": 384}
    values = condition(512, 512, grid=(32, 32), features=features)
    with torch.device("meta"):
        generator = build(features, {"channels": [16, 48, 96, 128, 192], "width": 1.0})
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        generator(noise(1, 3, 512, 512).to("meta"), {name: value.to("meta") for name, value in values.items()})
    assert counter.get_total_flops() < 30e9


def test_width_scales_every_level():
    generator = build(FEATURES, {"channels": [16, 48], "width": 0.25})
    assert generator.last.weight.shape[1] == 4  # 0.25 * 16
    assert generator.warped.weight.shape[0] == 12  # 0.25 * 48


def test_untrained_output_of_mixed_precision_is_the_start_to_the_byte():
    values = condition(31, 33)
    with torch.autocast("cpu", torch.bfloat16):
        output = make()(noise(1, 3, 31, 33), values)
    assert torch.equal(output, values["start"])
