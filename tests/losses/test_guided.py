import pytest
import torch
import torch.nn.functional as F

from tests.conftest import noise
from vitsplice.contracts import MATCH, PIXELS, POSITIONS, TermContext
from vitsplice.engine.features import SizedBackbone, as_features, random_positions
from vitsplice.losses.guided import EXCLUDED_COST, requests_at_depths, target_mass
from vitsplice.losses.terms import EDGES, PATCHES, SMOOTHNESS, STATISTICS, TEXTURE
from vitsplice.options import complete

GUIDED = [TEXTURE, STATISTICS, PATCHES, EDGES, SMOOTHNESS]


class Unchanged:
    """Resizing that leaves images as they are."""

    def target_size(self, height, width, info):
        return height, width

    def __call__(self, images, info):
        return images


def built(spec, backbone, **options):
    return spec.build(TermContext(backbone.info, options=complete(spec, options)))


def features_of(backbone, image, requests, masks=None):
    """Features of an image; the correspondence is that of the mean colours of its quarters, on a grid of 8 x 8."""
    own = [request for request in requests if request not in (MATCH, POSITIONS)]
    features = SizedBackbone(backbone, Unchanged()).features({0: image}, own, masks)[0]
    colours = F.interpolate(F.adaptive_avg_pool2d(image.detach() - 0.5, 2), size=8)
    engine = {MATCH: as_features(F.normalize(colours, dim=1)), POSITIONS: random_positions()}
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
    free, guided = (built(TEXTURE, vit, guide=float(guide)) for guide in (0, 5))
    output, target = (features_of(vit, image(seed), free.requests) for seed in (1, 2))
    assert guided.function(output, target) > free.function(output, target)
    aligned = {**target, MATCH: output[MATCH]}  # every patch corresponds to the patch at its own location
    assert guided.function(aligned, aligned) < 1e-3


def test_patches_without_correspondence_have_little_mass():
    similarities = torch.eye(4)[:2]  # the last two match none
    masses = {}
    for uniform in (0.0, 1.0):
        context = TermContext(None, options={"temperature": 0.02, "uniform": uniform})
        masses[uniform] = target_mass(similarities, torch.ones(4), context)
        torch.testing.assert_close(masses[uniform].sum(), torch.tensor(1.0))
    assert masses[0.0][2:].max() < 1e-4
    torch.testing.assert_close(masses[1.0], torch.full((4,), 0.25))


def test_excluded_texture_and_patches_do_not_count(vit):
    target = image(2)
    target[..., 32:] = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)  # red, and excluded
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    red = torch.zeros(1, 3, 64, 64)
    red[:, 0] = 1
    for spec in (TEXTURE, PATCHES):
        term = built(spec, vit, uniform=1.0)
        output = features_of(vit, red, term.requests)
        whole = term.function(output, features_of(vit, target, term.requests))
        part = term.function(output, features_of(vit, target, term.requests, {0: mask.expand(-1, 1, -1, -1)}))
        assert part > whole


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
    values = [term.function(features_of(vit, p, [PIXELS]), {}) for p in (grey, coloured)]
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
    changed_features = target_features | {PIXELS: features_of(vit, changed, [PIXELS])[PIXELS]}
    assert torch.equal(term.function(output, target_features), term.function(output, changed_features))
