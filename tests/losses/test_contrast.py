import pytest
import torch

from tests.losses.test_neighbourhoods import by_lightness, features_of, halves, stripes
from vitsplice.contracts import LAB, MASK, MATCH, Features, TermContext
from vitsplice.images.transforms import to_lab
from vitsplice.losses.terms import CONTRAST
from vitsplice.options import complete


def loss(output, target, **options):
    context = TermContext(
        None, options=complete(CONTRAST, {"neighbourhood": 0.125, "share": 1.0, "tolerance": 1.0, **options})
    )
    return CONTRAST.build(context).function(output, target)


def test_image_without_contrast_has_a_loss_of_1():
    flat = features_of(torch.full((1, 3, 64, 64), 0.5))
    assert loss(flat, features_of(stripes(0.1, 0.9))).item() == pytest.approx(1, abs=0.02)


def test_half_of_the_contrast_has_a_loss_of_one_half_and_more_than_all_costs_nothing():
    target = features_of(stripes(0.45, 0.55))
    assert loss(features_of(stripes(0.475, 0.525)), target).item() == pytest.approx(0.5, abs=0.03)
    assert loss(target, target).item() == pytest.approx(0, abs=0.005)
    assert loss(features_of(stripes(0.1, 0.9)), target).item() == 0


def test_a_share_of_the_contrast_is_enough():
    target = features_of(stripes(0.45, 0.55))
    assert loss(features_of(stripes(0.47, 0.53)), target, share=0.55).item() == 0
    assert loss(features_of(stripes(0.48, 0.52)), target, share=0.6).item() == pytest.approx(0.2, abs=0.03)  # 0.6 - 0.4


def test_lack_of_strong_contrast_may_not_exceed_the_tolerance():
    target = features_of(stripes(0.1, 0.9))
    deviation = by_lightness(target, 0.125).deviation.mean().item()
    assert 0.6 * deviation < deviation - 0.06  # the tolerance decides
    two_thirds = features_of(stripes(0.23, 0.76))
    lack = deviation - 0.06 - by_lightness(two_thirds, 0.125).deviation.mean().item()
    assert lack > 0.02
    assert loss(two_thirds, target, share=0.6, tolerance=1.0).item() == 0
    assert loss(two_thirds, target, share=0.6, tolerance=0.06).item() == pytest.approx(lack / deviation, abs=0.01)


def test_each_half_is_compared_with_the_contrast_of_the_half_that_it_corresponds_to():
    flat, striped = torch.full((1, 3, 64, 64), 0.5), stripes(0.2, 0.8)
    target = features_of(halves(striped, flat))
    right, wrong = (features_of(halves(*parts)) for parts in ((striped, flat), (flat, striped)))
    assert loss(right, target) < 0.05
    assert loss(wrong, target) > 0.9


@pytest.mark.parametrize("size", [(1, 5), (3, 3), (17, 40)])
def test_images_smaller_than_a_neighbourhood_have_a_finite_loss_and_gradient(size):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)).requires_grad_()
    features = {request: Features.from_maps(values) for request, values in
                {LAB: to_lab(image), MATCH: torch.ones(1, 2, 1, 1), MASK: torch.ones(1, 1, *size)}.items()}  # fmt: skip
    value = loss(features, features_of(stripes(0.1, 0.9), torch.ones(1, 2, 1, 1)))
    value.backward()
    assert value.isfinite()
    assert image.grad.isfinite().all()
