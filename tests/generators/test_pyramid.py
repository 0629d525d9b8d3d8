import pytest
import torch

from tests.conftest import noise
from vitsplice.generators.pixels import MARGIN
from vitsplice.generators.pyramid import Pyramid, merge, split


@pytest.mark.parametrize("size", [(40, 48), (33, 17), (1, 5)])
@pytest.mark.parametrize("levels", [1, 3, 8])
def test_merge_inverts_split(size, levels):
    maps = noise(1, 2, *size)
    parts = split(maps, levels)
    assert len(parts) == levels
    torch.testing.assert_close(merge(parts), maps)


def test_output_starts_as_the_start_image():
    start = 0.1 + 0.8 * noise(1, 3, 40, 48)
    start[..., :8] = 0
    output = Pyramid(start)(None)
    torch.testing.assert_close(output[..., 8:], start[..., 8:])
    torch.testing.assert_close(output[..., :8], start[..., :8], atol=2 * MARGIN, rtol=0)


def test_fine_colour_differences_are_not_optimised():
    generator = Pyramid(torch.full((1, 3, 32, 32), 0.5), levels=4, chroma_from=2)
    image = 0.4 + 0.2 * noise(1, 3, 32, 32)
    optimiser = torch.optim.Adam([p for p in generator.parameters() if p.requires_grad], lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        (generator(None) - image).square().mean().backward()
        optimiser.step()
    output = generator(None).detach()
    lightness, target_lightness = output.mean(1), image.mean(1)
    assert (lightness - target_lightness).abs().mean() < 0.3 * target_lightness.std()
    fine_red_green, target_red_green = ((maps[:, 0] - maps[:, 1]).diff(dim=-1) for maps in (output, image))
    assert fine_red_green.abs().mean() < 0.3 * target_red_green.abs().mean()


def test_a_step_changes_colour_differences_of_dark_areas_less():
    start = torch.full((1, 3, 32, 48), 0.6)
    start[..., :16], start[..., 16:32] = 0.05, 0.1
    generator = Pyramid(start, levels=1)
    optimiser = torch.optim.Adam(generator.parameters(), lr=0.01)
    output = generator(None)
    (output[:, 1] - output[:, 0]).sum().backward()
    optimiser.step()
    red_green = (generator(None)[:, 0] - generator(None)[:, 1]).detach()
    black, dark, bright = red_green.split(16, -1)
    assert bright.min() > 0
    torch.testing.assert_close(black, bright * 0.2, rtol=1e-3, atol=0)
    torch.testing.assert_close(dark, bright * 0.25, rtol=1e-3, atol=0)


def test_chroma_step_is_the_step_of_a_colour_difference_relative_to_that_of_middle_grey():
    for chroma_step in (1, 0.5):
        generator = Pyramid(torch.full((1, 3, 8, 8), 0.5), levels=1, chroma_step=chroma_step)
        output = generator(None)
        (output.mean() + output[:, 0].mean() - output[:, 1].mean()).backward()
        torch.optim.Adam(generator.parameters(), lr=0.01).step()
        change = generator(None).detach() - 0.5
        ratio = (change[:, 0] - change[:, 1]).mean() / change.mean()
        assert ratio.item() == pytest.approx(chroma_step, rel=1e-3)


@pytest.mark.parametrize(("before", "after", "ratio"), [(0.6, 0.1, 0.25), (0.6, 0.5, 1), (0.1, 0.6, 1)])
def test_areas_that_become_dark_lose_colour_differences_and_those_that_become_light_keep_them(before, after, ratio):
    start = torch.full((1, 3, 8, 8), before)
    start[:, 0] += 0.03
    generator = Pyramid(start, levels=1)
    torch.nn.init.constant_(generator.light[0], torch.logit(torch.tensor(after)).item())
    output = generator(None).detach()
    assert output.mean().item() == pytest.approx(after, abs=1e-5)
    torch.testing.assert_close(output[:, 0] - output[:, 1], torch.full((1, 8, 8), 0.03 * ratio))


def test_gradient_of_colour_differences_does_not_change_the_lightness():
    generator = Pyramid(0.1 + 0.3 * noise(1, 3, 32, 32), levels=1)
    output = generator(None)
    (output[:, 0] - output[:, 1]).square().sum().backward()
    assert generator.light[0].grad.abs().max() < 1e-5 * generator.chroma[0].grad.abs().max()
