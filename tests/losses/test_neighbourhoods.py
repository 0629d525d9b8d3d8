import math

import kornia
import pytest
import torch

from tests.conftest import noise
from vitsplice.contracts import LAB, MASK, MATCH, Features
from vitsplice.images.transforms import to_lab
from vitsplice.losses import neighbourhoods as module
from vitsplice.losses.contrast import variance_of_lightness
from vitsplice.losses.neighbourhoods import Neighbourhoods, corresponding_deviation, neighbourhoods
from vitsplice.matching import assignment

LEFT, RIGHT = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


def stripes(low, high, *, side=64, width=2):
    """Vertical grey stripes ``(1, 3, H, W)``."""
    dark = (torch.arange(side) // width) % 2 == 0
    return torch.where(dark, low, high).expand(1, 3, side, side).clone()


def features_of(image, match=None, mask=None):
    """Features of an image; the left half corresponds to left halves, the right half to right halves."""
    side = image.shape[-1]
    if match is None:
        match = torch.where((torch.arange(8) < 4)[None, :, None], LEFT, RIGHT).expand(8, 8, 2).permute(2, 0, 1)[None]
    mask = torch.ones(1, 1, side, side) if mask is None else mask
    maps = {LAB: to_lab(image), MATCH: match, MASK: mask}
    return {request: Features.from_maps(values) for request, values in maps.items()}


def halves(left, right):
    return torch.cat([left[..., :32], right[..., 32:]], -1)


def by_lightness(features, side):
    return neighbourhoods(features, side, variance_of_lightness)


def test_border_of_two_parts_has_no_weight():
    black_white = by_lightness(features_of(halves(torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64))), 0.25)
    weight, deviation = (values.reshape(7, 7) for values in (black_white.weight, black_white.deviation))
    assert deviation[:, 3].min() > 0.3  # black and white
    assert weight[:, 3].max() == 0
    assert weight[:, [0, 1, 5, 6]].min() == 1


def test_deviation_is_that_of_the_pixels_of_a_neighbourhood():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.45
    result = by_lightness(features_of(image.mean(1, keepdim=True).expand(-1, 3, -1, -1)), 0.5)
    lightness = kornia.color.rgb_to_lab(image.mean(1, keepdim=True).expand(-1, 3, -1, -1))[0, 0] / 100
    expected = [lightness[y : y + 8, x : x + 8].std(correction=0) for y in (0, 4, 8) for x in (0, 4, 8)]
    torch.testing.assert_close(result.deviation[:, 0], torch.stack(expected), atol=2e-4, rtol=0.01)


def test_corresponding_deviation_is_a_geometric_mean():
    one_part = torch.ones(1, 2, 8, 8)
    target = by_lightness(features_of(halves(stripes(0.4, 0.6), stripes(0.49, 0.51)), one_part), 0.125)
    output = by_lightness(features_of(stripes(0.5, 0.5), one_part), 0.125)
    corresponding = corresponding_deviation(output, target, 0.05)[0].item()
    deviations = target.deviation[:, 0].tolist()
    geometric = math.exp(sum(math.log(value + 1e-3) for value in deviations) / len(deviations)) - 1e-3
    assert corresponding == pytest.approx(geometric, rel=1e-3)
    assert corresponding < 0.9 * sum(deviations) / len(deviations)


def test_excluded_neighbourhoods_do_not_raise_the_corresponding_deviation():
    one_part, mask = torch.ones(1, 2, 8, 8), torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    image = halves(stripes(0.1, 0.9), torch.full((1, 3, 64, 64), 0.5))
    output = by_lightness(features_of(image, one_part), 0.125)
    whole, part = (by_lightness(features_of(image, one_part, m), 0.125) for m in (None, mask))
    unmasked, masked = (corresponding_deviation(output, target, 0.05).max() for target in (whole, part))
    assert masked < 0.2 * unmasked


@pytest.mark.parametrize("side", [63, 65, 67])
def test_mask_in_the_last_column_alone_is_ignored(side):  # this column is in no neighbourhood
    mask = torch.zeros(1, 1, side, side)
    mask[..., -1] = 1
    output = by_lightness(features_of(stripes(0.5, 0.5, side=side)), 0.125)
    whole, part = (by_lightness(features_of(stripes(0.1, 0.9, side=side), mask=m), 0.125) for m in (None, mask))
    unmasked, masked = (corresponding_deviation(output, target, 0.05) for target in (whole, part))
    assert torch.equal(masked, unmasked)


@pytest.mark.parametrize(("pairs", "blocks"), [(module.PAIRS, [1200]), (300 * 600, [512, 512, 176])])
def test_neighbourhoods_are_compared_in_blocks_of_limited_memory(monkeypatch, pairs, blocks):
    output, target = (random_neighbourhoods(number) for number in (1200, 300))
    entire = assignment(output.match @ target.match.T, 0.05, 0.0) @ (target.deviation + module.DEVIATION_OFFSET).log()
    compared = []

    def counting(similarities, *arguments):
        compared.append(len(similarities))
        return assignment(similarities, *arguments)

    monkeypatch.setattr(module, "PAIRS", pairs)
    monkeypatch.setattr(module, "assignment", counting)
    corresponding = corresponding_deviation(output, target, 0.05)
    assert compared == blocks
    torch.testing.assert_close(corresponding, entire.exp() - module.DEVIATION_OFFSET)


def random_neighbourhoods(number):
    match = torch.nn.functional.normalize(noise(number, 8) - 0.5, dim=-1)
    return Neighbourhoods(noise(number, 1, seed=1), match, torch.ones(number, 1), torch.ones(number))
