import pytest
import torch
import torch.nn.functional as F

from tests.conftest import noise
from vitsplice.contracts import LAB, MASK, MATCH, POSITIONS, Features, TermContext
from vitsplice.engine.features import SizedBackbone, random_positions
from vitsplice.losses.guided import EXCLUDED_COST, _resized_mass, requests_at_depths, target_mass
from vitsplice.losses.terms import CONTRAST, EDGES, PATCHES, SMOOTHNESS, STATISTICS, TEXTURE
from vitsplice.options import complete

GUIDED = [TEXTURE, STATISTICS, CONTRAST, PATCHES, EDGES, SMOOTHNESS]


class Unchanged:
    """Resizing that leaves images as they are."""

    def target_size(self, height, width, info):
        return height, width

    def __call__(self, images, info):
        return images


def built(spec, backbone, **options):
    return spec.build(TermContext(backbone.info, options=complete(spec, options)))


def features_of(backbone, image, requests, masks=None):
    """Features of an image; the facet ``match`` has the mean colour of each quarter, normalised, on a grid of 8 x 8."""
    own = [request for request in requests if request not in (MATCH, POSITIONS)]
    features = SizedBackbone(backbone, Unchanged()).features({0: image}, own, masks)[0]
    colours = F.interpolate(F.adaptive_avg_pool2d(image.detach() - 0.5, 2), size=8)
    engine = {MATCH: Features.from_maps(F.normalize(colours, dim=1)), POSITIONS: random_positions()}
    return features | {request: engine[request] for request in requests if request in engine}


def image(seed, side=64):
    return F.interpolate(noise(1, 3, 8, 8, seed=seed), size=(side, side), mode="bilinear")


@pytest.mark.parametrize("spec", GUIDED, ids=lambda spec: spec.name)
def test_term_is_a_finite_scalar_with_gradients_on_every_backbone(spec, backbone):
    term = built(spec, backbone)
    image_1 = image(1).requires_grad_()
    output, target = (features_of(backbone, p, term.requests) for p in (image_1, image(2)))
    loss = term.function(output, target)
    assert loss.shape == ()
    loss.backward()
    assert torch.isfinite(image_1.grad).all()
    assert image_1.grad.abs().sum() > 0


@pytest.mark.parametrize("spec", [TEXTURE, STATISTICS, PATCHES, EDGES], ids=lambda spec: spec.name)
def test_target_itself_has_less_than_half_the_loss_of_another_image(spec, backbone):
    term = built(spec, backbone)
    same, other = (features_of(backbone, image(seed), term.requests) for seed in (2, 1))
    assert term.function(same, same) < 0.5 * term.function(other, same)


def test_guide_raises_the_cost_of_patches_that_do_not_correspond(vit):
    unguided, guided = (built(TEXTURE, vit, guide=float(guide)) for guide in (0, 5))
    output, target = (features_of(vit, image(seed), unguided.requests) for seed in (1, 2))
    assert guided.function(output, target) > unguided.function(output, target)
    aligned = {**target, MATCH: output[MATCH]}  # every patch corresponds to the patch at its own location
    assert guided.function(aligned, aligned) < 1e-3


def test_patches_without_correspondence_have_little_mass():
    similarities = torch.eye(4)[:2]  # nothing corresponds to the last two target patches
    masses = {}
    for uniform in (0.0, 1.0):
        context = TermContext(None, options={"temperature": 0.02, "uniform": uniform})
        masses[uniform] = target_mass(similarities, torch.ones(4), context)
        torch.testing.assert_close(masses[uniform].sum(), torch.tensor(1.0))
    assert masses[0.0][2:].max() < 1e-4
    torch.testing.assert_close(masses[1.0], torch.full((4,), 0.25))


@pytest.mark.parametrize("spec", [TEXTURE, STATISTICS, PATCHES], ids=lambda spec: spec.name)
def test_term_that_gives_the_correspondence_no_weight_does_not_request_it(spec, backbone):
    options = {"guide": 0.0} if spec == TEXTURE else {}
    uniform, with_match = (built(spec, backbone, uniform=share, **options) for share in (1.0, 1 - 1e-6))
    assert MATCH not in uniform.requests
    output, target = (features_of(backbone, image(seed), with_match.requests) for seed in (1, 2))
    without_match = ({request: each[request] for request in uniform.requests} for each in (output, target))
    expected = with_match.function(output, target)
    torch.testing.assert_close(uniform.function(*without_match), expected, rtol=1e-4, atol=1e-6)


def test_texture_and_patches_ignore_excluded_pixels_of_the_target(vit):
    target = image(2)
    target[..., 32:] = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)  # red, and excluded
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    red = torch.zeros(1, 3, 64, 64)
    red[:, 0] = 1
    for spec in (TEXTURE, PATCHES):
        term = built(spec, vit, uniform=1.0)
        output = features_of(vit, red, term.requests)
        unmasked = term.function(output, features_of(vit, target, term.requests))
        masked = term.function(output, features_of(vit, target, term.requests, {0: mask}))
        assert masked > unmasked


def test_depths_are_relative_to_the_number_of_layers(vit, cnn):
    assert [str(request) for request in requests_at_depths(vit.info, [0.0, 0.34, 0.67, 1.0])] == [
        "token[-3]",
        "token[-2]",
        "token[-1]",
    ]
    assert [request.layer for request in requests_at_depths(cnn.info, [0.0, 1.0])] == [-cnn.info.layers, -1]


def test_smoothness_weights_coloured_noise_above_grey_noise(vit):
    term = built(SMOOTHNESS, vit)
    grey = 0.5 + 0.1 * (noise(1, 1, 64, 64) - 0.5).expand(1, 3, 64, 64)
    coloured = 0.5 + 0.1 * (noise(1, 3, 64, 64) - 0.5)
    values = [term.function(features_of(vit, p, [LAB]), {}) for p in (grey, coloured)]
    assert values[1] > 3 * values[0]


@pytest.mark.parametrize("region", [(slice(0, 1),) * 2, (slice(63, 64), slice(0, 64)), (slice(5, 9), slice(40, 44))])
@pytest.mark.parametrize("spec", [TEXTURE, PATCHES], ids=lambda spec: spec.name)
def test_mask_smaller_than_a_patch_includes_a_patch(spec, region, backbone):
    mask = torch.zeros(1, 1, 64, 64)
    mask[(..., *region)] = 1
    for uniform in (0.0, 1.0):
        term = built(spec, backbone, uniform=uniform)
        output = features_of(backbone, image(1), term.requests)
        value = term.function(output, features_of(backbone, image(2), term.requests, {0: mask}))
        assert value.isfinite()
        assert value < EXCLUDED_COST / 2


def test_pixels_outside_the_mask_are_in_no_patch(vit):
    target, mask = image(2), torch.zeros(1, 1, 64, 64)
    mask[..., :30] = 1
    changed = target.clone()
    changed[..., 30:] = 0
    term = built(PATCHES, vit, uniform=1.0, size=5, stride=1)
    output = features_of(vit, image(1), term.requests)
    target_features = features_of(vit, target, term.requests, {0: mask})
    changed_features = target_features | {LAB: features_of(vit, changed, [LAB])[LAB]}
    assert torch.equal(term.function(output, target_features), term.function(output, changed_features))


def statistics_of(backbone, output, target, **options):
    term = built(STATISTICS, backbone, **options)
    features = features_of(backbone, output, term.requests), features_of(backbone, target, term.requests)
    return term.function(*features)


def test_statistics_of_the_same_image_are_equal_and_those_of_less_contrast_are_not(backbone):
    assert statistics_of(backbone, image(1), image(1), uniform=1.0).item() == pytest.approx(0, abs=1e-4)
    assert statistics_of(backbone, 0.5 + 0.3 * (image(1) - 0.5), image(1), uniform=1.0) > 0.05


def random_maps(*grid, seed, dtype=torch.float32):
    return noise(1, 6, *grid, seed=seed, dtype=dtype) - 0.5


def features_with(layer, maps, seed):
    """Features of one layer, and all else that guided terms request, without a backbone."""
    grid, dtype = maps.shape[-2:], maps.dtype
    match = F.normalize(noise(1, 3, *grid, seed=seed + 1, dtype=dtype) - 0.5, dim=1)
    positions = random_positions(seed)
    return {
        layer: Features.from_maps(maps),
        MATCH: Features.from_maps(match),
        MASK: Features.from_maps(torch.ones(1, 1, *grid, dtype=dtype)),
        POSITIONS: Features(positions.values.to(dtype), positions.grid),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "options"), [(STATISTICS, {}), (TEXTURE, {}), (TEXTURE, {"samples": 20})])
def test_gradients_agree_with_finite_differences_in_float64(spec, options, cnn):
    term = built(spec, cnn, depths=[1.0], **options)
    layer = term.requests[0]
    maps, target_maps = (random_maps(4, 5, seed=seed, dtype=torch.float64) for seed in (1, 5))
    target = features_with(layer, target_maps, seed=5)

    def loss(maps):
        return term.function(features_with(layer, maps, seed=1), target)

    assert torch.autograd.gradcheck(loss, maps.requires_grad_(), atol=1e-6)


def test_statistics_do_not_depend_on_the_order_of_locations(cnn):
    term = built(STATISTICS, cnn, depths=[1.0])
    layer = term.requests[0]
    output, target = (features_with(layer, random_maps(4, 6, seed=seed), seed) for seed in (1, 5))
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = {request: Features(target[request].values[:, order], (4, 6)) for request in term.requests}
    torch.testing.assert_close(term.function(output, shuffled), term.function(output, target))


def test_masked_locations_have_no_mass_in_statistics(cnn):
    term = built(STATISTICS, cnn, depths=[1.0], uniform=1.0)
    layer = term.requests[0]
    output, target = (features_with(layer, random_maps(6, 6, seed=seed), seed) for seed in (1, 5))
    target[MASK] = Features.from_maps((torch.arange(6) < 3).float().expand(1, 1, 6, 6))
    changed = target[layer].maps.clone()
    changed[..., 3:] = 9
    changed_target = target | {layer: Features.from_maps(changed)}
    torch.testing.assert_close(term.function(output, changed_target), term.function(output, target))


@pytest.mark.slow
def test_sampled_texture_of_all_locations_is_close_to_that_on_the_grid(cnn):
    sampled, whole = (built(TEXTURE, cnn, depths=[1.0], guide=0.0, samples=n) for n in (2000, 0))
    layer = sampled.requests[0]
    features = []
    for seed in (1, 5):
        few = random_maps(8, 8, seed=seed)[..., ::4, ::4]  # few distinct features
        features.append(features_with(layer, F.interpolate(few, size=(8, 8), mode="nearest"), seed))
    output, target = features
    torch.testing.assert_close(sampled.function(output, target), whole.function(output, target), rtol=0.25, atol=0)


def test_mass_that_is_resized_to_a_coarse_grid_is_not_lost():
    mass = torch.zeros(1, 1, 12, 12)
    mass[..., 1, 1] = 1
    for grid in ((1, 1), (3, 3), (5, 7), (12, 12), (30, 31)):
        resized = _resized_mass(mass, Features(torch.zeros(1, grid[0] * grid[1], 2), grid))
        torch.testing.assert_close(resized.sum(), torch.tensor(1.0))
        assert resized.min() >= 0


@pytest.mark.parametrize("spec", [TEXTURE, STATISTICS, PATCHES], ids=lambda spec: spec.name)
def test_value_does_not_depend_on_what_other_terms_request(spec, vit):
    term = built(spec, vit, uniform=1.0, **({"guide": 0.0} if spec == TEXTURE else {}))
    output, target = (features_of(vit, image(seed), [*term.requests, MATCH]) for seed in (1, 2))
    expected = term.function({**output, MATCH: None}, {**target, MATCH: None})
    without_match = ({request: each[request] for request in term.requests} for each in (output, target))
    assert torch.equal(term.function(*without_match), expected)
