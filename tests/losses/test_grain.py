import pytest
import torch

from tests.losses.test_neighbourhoods import features_of, halves, stripes
from vitsplice.contracts import INPUT, LAB, MASK, MATCH, Features, TermContext
from vitsplice.images.transforms import to_lab, to_rgb
from vitsplice.losses.grain import DIFFERENCE_OFFSET, INVISIBLE, fine_variance
from vitsplice.losses.terms import GRAIN
from vitsplice.options import complete

FLAT = torch.full((1, 3, 64, 64), 0.5)


def loss(output, target, input_image=FLAT, **options):
    output = output | {INPUT: Features.from_maps(input_image)}
    context = TermContext(None, options=complete(GRAIN, {"neighbourhood": 0.125, "limit": 1.0, **options}))
    return GRAIN.build(context).function(output, target)


def test_less_variation_than_the_target_costs_nothing():
    target = features_of(stripes(0.4, 0.6))
    assert loss(features_of(FLAT), target).item() == 0
    assert loss(target, target).item() == 0
    assert loss(features_of(stripes(0.45, 0.55)), target).item() == 0


def test_twice_the_variation_is_an_excess_of_one_in_lightness():
    output, target = features_of(stripes(0.3, 0.7)), features_of(stripes(0.4, 0.6))
    assert loss(output, target).item() == pytest.approx(1 / 2, abs=0.05)  # the mean of lightness and chroma
    assert loss(output, target, limit=2.2).item() == 0


def test_variation_of_the_input_image_costs_nothing():
    striped = stripes(0.4, 0.6)
    target = features_of(FLAT)
    assert loss(features_of(striped), target).item() > 1
    assert loss(features_of(striped), target, striped).item() == 0
    assert 0 < loss(features_of(stripes(0.3, 0.7)), target, striped).item() < 1


def test_grain_that_cannot_be_seen_costs_nothing():
    lab = torch.tensor([0.5, 0.0, 0.0]).view(1, 3, 1, 1).repeat(1, 1, 64, 64)
    lab[:, :, ::2] += 0.5 * INVISIBLE
    assert loss(features_of(to_rgb(lab)), features_of(FLAT)).item() == 0
    lab[:, :, ::2] += 3 * INVISIBLE
    assert loss(features_of(to_rgb(lab)), features_of(FLAT)).item() > 0


def test_small_dark_spot_costs_less_than_grain_of_the_same_mean_square():
    spot = FLAT.clone()
    spot[:, :, 31:33, 31:33] = 0
    lightness_deviation = (to_lab(spot) - to_lab(FLAT))[:, 0].square().mean().sqrt().item()
    # near grey 0.5, lightness / 100 changes by about as much as R, G and B
    grainy = stripes(0.5 - lightness_deviation, 0.5 + lightness_deviation)
    target = features_of(FLAT)
    assert loss(features_of(spot), target).item() < 0.1 * loss(features_of(grainy), target).item()


def test_stripes_cost_where_the_corresponding_half_of_the_target_is_flat():
    striped = stripes(0.4, 0.6)
    target = features_of(halves(striped, FLAT))
    assert loss(features_of(halves(striped, FLAT)), target).item() < 0.05
    assert loss(features_of(halves(FLAT, striped)), target).item() > 1


@pytest.mark.parametrize(("channel", "quantity"), [(0, 0), (1, 1), (2, 1)])  # quantity 0: lightness, 1: chroma
def test_variation_of_lightness_and_chroma_is_measured_separately_at_two_scales(channel, quantity):
    lab = torch.zeros(1, 3, 84, 84)  # 84 is a multiple of the sides of the blocks at both scales
    lab[:, channel, :, ::2] = 0.1
    values = fine_variance(lab, 0.5).flatten(2).mean(2)[0].reshape(2, 2)
    assert values[:, 1 - quantity].max().item() == pytest.approx(DIFFERENCE_OFFSET**2, rel=1e-3)
    torch.testing.assert_close(values[:, quantity], torch.full((2,), 0.05**2), rtol=0.1, atol=0)


def test_gradual_changes_are_no_fine_variation():
    ramp = torch.linspace(0, 1, 256).expand(1, 3, 256, 256)
    # beyond the centres of the outer blocks, the interpolated means are constant
    fine = fine_variance(ramp, 0.2)[..., 2:-2]
    assert fine.max().sqrt() < INVISIBLE


@pytest.mark.parametrize("size", [(1, 5), (3, 3), (17, 40)])
def test_images_smaller_than_a_block_have_a_finite_loss_and_gradient(size):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)).requires_grad_()
    features = {request: Features.from_maps(values) for request, values in
                {LAB: to_lab(image), MATCH: torch.ones(1, 2, 1, 1), MASK: torch.ones(1, 1, *size)}.items()}  # fmt: skip
    value = loss(features, features_of(FLAT, torch.ones(1, 2, 1, 1)), torch.zeros(1, 3, *size))
    value.backward()
    assert value.isfinite()
    assert image.grad.isfinite().all()
