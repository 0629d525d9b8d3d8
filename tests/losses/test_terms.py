import pytest
import torch

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
def test_a_term_is_its_function_of_the_role_s_features(spec, function, role, form, backbone, pair):
    term = build(spec, backbone, form=form)
    assert term.requests == (backbone.info.default_request(role),)
    made, wanted = (backbone(p[..., :40, :40], term.requests) for p in pair)
    expected = function(made[term.requests[0]].values, wanted[term.requests[0]].values, form)
    torch.testing.assert_close(term.function(made, wanted), expected)
    assert term.function(made, made).item() == 0


def test_facet_and_layer_replace_the_role_s_default(vit):
    assert build(STRUCTURE, vit, facet="token", layer=1).requests == (FeatureRequest("token", -2),)


@pytest.mark.parametrize(("facet", "layer", "told"), [("map", None, "has no facet 'map'"), (None, 7, "no layer 7")])
def test_what_the_backbone_has_not_is_told(vit, facet, layer, told):
    with pytest.raises(ConfigError, match=told):
        build(STRUCTURE, vit, facet=facet, layer=layer)


def test_only_identity_feeds_the_appearance_image():
    assert [(s.input, s.target) for s in (APPEARANCE, STRUCTURE, IDENTITY)] == [
        ("structure", "appearance"),
        ("structure", "structure"),
        ("appearance", "appearance"),
    ]


@pytest.mark.parametrize("spec", [STRUCTURE, IDENTITY], ids=lambda spec: spec.name)
@pytest.mark.parametrize("form", ["norm", "mse"])
def test_locations_outside_of_the_target_s_mask_do_not_count(spec, form, backbone, pair):
    term = build(spec, backbone, form=form)
    (request,) = term.requests
    made, wanted = (backbone(p[..., :40, :40], term.requests) for p in pair)
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., :16, :] = 1
    wanted[MASK] = Features(mask.flatten(2).transpose(1, 2), (40, 40))
    rows, (h, w) = made[request].prefix, made[request].grid
    inside = rows + (h // 2) * w
    cut = [{request: Features(found[request].values[:, :inside])} for found in (made, wanted)]
    torch.testing.assert_close(term.function(made, wanted), term.function(*cut))
    changed = made[request].values.clone()
    changed[:, rows + -(-h // 2) * w :] += 1
    there = {request: Features(changed, (h, w), rows)}
    torch.testing.assert_close(term.function(there, wanted), term.function(made, wanted))


def test_a_white_mask_changes_nothing(vit, pair):
    term = build(IDENTITY, vit)
    made, wanted = (vit(p[..., :40, :40], term.requests) for p in pair)
    masked = wanted | {MASK: Features(torch.ones(1, 1600, 1), (40, 40))}
    assert torch.equal(term.function(made, masked), term.function(made, wanted))
