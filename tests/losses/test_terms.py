import pytest
import torch
import torch.nn.functional as F

from tests.conftest import noise
from vitsplice.contracts import MASK, FeatureRequest, Features, TermContext
from vitsplice.errors import ConfigError
from vitsplice.losses.functional import appearance_loss, identity_loss, structure_loss
from vitsplice.losses.terms import APPEARANCE, IDENTITY, STRUCTURE
from vitsplice.options import complete

CASES = [(APPEARANCE, appearance_loss, "appearance"), (STRUCTURE, structure_loss, "structure")]
CASES += [(IDENTITY, identity_loss, "structure")]


def build(spec, backbone, facet=None, layer=None, **options):
    return spec.build(TermContext(backbone.info, facet, layer, complete(spec, options)))


@pytest.mark.parametrize(("spec", "function", "role"), CASES)
@pytest.mark.parametrize("form", ["norm", "mse"])
def test_value_of_a_term_is_its_loss_function_of_the_default_feature(spec, function, role, form, backbone, pair):
    term = build(spec, backbone, form=form)
    assert term.requests == (backbone.info.default_request(role),)
    output, target = (backbone(p[..., :40, :40], term.requests) for p in pair)
    expected = function(output[term.requests[0]].values, target[term.requests[0]].values, form)
    torch.testing.assert_close(term.function(output, target), expected)
    assert term.function(output, output).item() == 0


def test_facet_and_layer_replace_the_default_feature(vit):
    assert build(STRUCTURE, vit, facet="token", layer=1).requests == (FeatureRequest("token", -2),)


@pytest.mark.parametrize(("facet", "layer", "expected"), [("map", None, "has no facet 'map'"), (None, 7, "no layer 7")])
def test_unavailable_facet_or_layer_is_refused(vit, facet, layer, expected):
    with pytest.raises(ConfigError, match=expected):
        build(STRUCTURE, vit, facet=facet, layer=layer)


def test_only_identity_has_the_appearance_image_as_input():
    assert [(s.input, s.target) for s in (APPEARANCE, STRUCTURE, IDENTITY)] == [
        ("structure", "appearance"),
        ("structure", "structure"),
        ("appearance", "appearance"),
    ]


@pytest.mark.parametrize("spec", [STRUCTURE, IDENTITY], ids=lambda spec: spec.name)
@pytest.mark.parametrize("form", ["norm", "mse"])
def test_locations_outside_the_mask_of_the_target_do_not_count(spec, form, backbone, pair):
    term = build(spec, backbone, form=form)
    (request,) = term.requests
    output, target = (backbone(p[..., :40, :40], term.requests) for p in pair)
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., :16, :] = 1
    target[MASK] = Features(mask.flatten(2).transpose(1, 2), (40, 40))
    prefix, (h, w) = output[request].prefix, output[request].grid
    # The 16 white rows cover 2 of 5 rows of patches (vit), or 80 % of the first of 2 rows (cnn), which then counts.
    inside = prefix + (h // 2) * w
    cropped = [{request: Features(features[request].values[:, :inside])} for features in (output, target)]
    torch.testing.assert_close(term.function(output, target), term.function(*cropped))
    changed = output[request].values.clone()
    changed[:, inside:] += 1
    altered = {request: Features(changed, (h, w), prefix)}
    torch.testing.assert_close(term.function(altered, target), term.function(output, target))


def test_white_mask_has_no_effect(vit, pair):
    term = build(IDENTITY, vit)
    output, target = (vit(p[..., :40, :40], term.requests) for p in pair)
    masked = target | {MASK: Features(torch.ones(1, 1600, 1), (40, 40))}
    assert torch.equal(term.function(output, masked), term.function(output, target))


def test_structure_on_a_grid_compares_averages_of_maps(cnn):
    whole, coarse = build(STRUCTURE, cnn, layer=0), build(STRUCTURE, cnn, layer=0, grid=2)
    (request,) = coarse.requests
    output, target = (Features.from_maps(noise(1, 6, 4, 8, seed=seed) - 0.5) for seed in (1, 2))
    averages = [Features.from_maps(F.adaptive_avg_pool2d(features.maps, 2)) for features in (output, target)]
    expected = whole.function(*({request: features} for features in averages))
    torch.testing.assert_close(coarse.function({request: output}, {request: target}), expected)
    assert coarse.function({request: target}, {request: target}).item() == 0
    fine = build(STRUCTURE, cnn, layer=0, grid=8)  # at least as fine as the maps
    values = [term.function({request: output}, {request: target}) for term in (fine, whole)]
    assert torch.equal(*values)
