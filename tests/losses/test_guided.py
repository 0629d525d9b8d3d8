import pytest
import torch

from tests.conftest import noise
from vitsplice.contracts import MASK, MATCH, PIXELS, Features, TermContext
from vitsplice.engine.features import extract
from vitsplice.losses.guided import OUT_OF_REACH, called_for, requests_at
from vitsplice.losses.terms import EDGES, PATCHES, SMOOTHNESS, TEXTURE
from vitsplice.options import complete

GUIDED = [TEXTURE, PATCHES, EDGES, SMOOTHNESS]


def built(spec, backbone, **options):
    return spec.build(TermContext(backbone.info, options=complete(spec, options)))


def looked_at(backbone, image, requests, masks=None):
    return extract(backbone, lambda seen, _: seen, {0: image}, requests, masks)[0]


def image(seed, side=64):
    return torch.nn.functional.interpolate(noise(1, 3, 8, 8, seed=seed), size=(side, side), mode="bilinear")


@pytest.mark.parametrize("spec", GUIDED, ids=lambda spec: spec.name)
def test_a_term_is_a_finite_scalar_with_gradients_on_every_backbone(spec, backbone):
    term = built(spec, backbone)
    ours = image(1).requires_grad_()
    found, target = (looked_at(backbone, p, term.requests) for p in (ours, image(2)))
    loss = term.function(found, target)
    assert loss.shape == ()
    loss.backward()
    assert torch.isfinite(ours.grad).all()
    assert ours.grad.abs().sum() > 0


@pytest.mark.parametrize("spec", [TEXTURE, PATCHES, EDGES], ids=lambda spec: spec.name)
def test_the_target_itself_is_nearer_than_anything_else(spec, backbone):
    term = built(spec, backbone)
    same, other = (looked_at(backbone, image(seed), term.requests) for seed in (2, 1))
    assert term.function(same, same) < 0.5 * term.function(other, same)


def test_the_guide_makes_texture_from_the_wrong_place_dear(vit):
    free, guided = (built(TEXTURE, vit, guide=float(guide)) for guide in (0, 5))
    found, target = (looked_at(vit, image(seed), free.requests) for seed in (1, 2))
    assert guided.function(found, target) > free.function(found, target)
    aligned = {**target, MATCH: found[MATCH]}  # now every place has its like at the same place
    assert guided.function({**target, MATCH: found[MATCH]}, aligned) < 1e-3


def test_places_nobody_calls_for_count_for_little():
    ours, theirs = torch.eye(4)[None, :2], torch.eye(4)[None]  # the last two have no like
    features = {MATCH: Features(ours, (1, 2)), MASK: Features(torch.ones(1, 2, 1), (1, 2))}
    target = {MATCH: Features(theirs, (1, 4)), MASK: Features(torch.ones(1, 4, 1), (1, 4))}
    masses = {}
    for uniform in (0.0, 1.0):
        context = TermContext(None, options={"temperature": 0.02, "uniform": uniform})
        _, mass, _ = called_for(features, target, context)
        torch.testing.assert_close(mass.sum(), torch.tensor(1.0))
        masses[uniform] = mass[0]
    assert masses[0.0][2:].max() < 1e-4
    torch.testing.assert_close(masses[1.0], torch.full((4,), 0.25))


def test_a_mask_keeps_texture_and_patches_out(vit):
    target = image(2)
    target[..., 32:] = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)  # red, and left out
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    red = torch.zeros(1, 3, 64, 64)
    red[:, 0] = 1
    for spec in (TEXTURE, PATCHES):
        term = built(spec, vit, uniform=1.0)
        found = looked_at(vit, red, term.requests)
        whole = term.function(found, looked_at(vit, target, term.requests))
        part = term.function(found, looked_at(vit, target, term.requests, {0: mask.expand(-1, 1, -1, -1)}))
        assert part > whole


def test_depths_are_parts_of_the_way_up(vit, cnn):
    assert [str(request) for request in requests_at(vit.info, [0.0, 0.34, 0.67, 1.0])] == [
        "token[-3]",
        "token[-2]",
        "token[-1]",
    ]
    assert [request.layer for request in requests_at(cnn.info, [0.0, 1.0])] == [-cnn.info.layers, -1]


def test_smoothness_sees_coloured_noise_before_grey_noise(vit):
    term = built(SMOOTHNESS, vit)
    grey = 0.5 + 0.1 * (noise(1, 1, 64, 64) - 0.5).expand(1, 3, 64, 64)
    coloured = 0.5 + 0.1 * (noise(1, 3, 64, 64) - 0.5)
    values = [term.function(looked_at(vit, p, [PIXELS]), {}) for p in (grey, coloured)]
    assert values[1] > 3 * values[0]


@pytest.mark.parametrize("where", [(slice(0, 1),) * 2, (slice(63, 64), slice(0, 64)), (slice(5, 9), slice(40, 44))])
@pytest.mark.parametrize("spec", [TEXTURE, PATCHES], ids=lambda spec: spec.name)
def test_a_mask_smaller_than_a_patch_leaves_something_to_take(spec, where, backbone):
    mask = torch.zeros(1, 1, 64, 64)
    mask[(..., *where)] = 1
    for uniform in (0.0, 1.0):
        term = built(spec, backbone, uniform=uniform)
        found = looked_at(backbone, image(1), term.requests)
        value = term.function(found, looked_at(backbone, image(2), term.requests, {0: mask}))
        assert value.isfinite()
        assert value < OUT_OF_REACH / 2


def test_pixels_outside_of_the_mask_are_in_no_patch(vit):
    target, mask = image(2), torch.zeros(1, 1, 64, 64)
    mask[..., :30] = 1
    changed = target.clone()
    changed[..., 30:] = 0
    term = built(PATCHES, vit, uniform=1.0, size=5, stride=1)
    found = looked_at(vit, image(1), term.requests)
    wanted = looked_at(vit, target, term.requests, {0: mask})
    other = wanted | {PIXELS: looked_at(vit, changed, [PIXELS])[PIXELS]}
    assert torch.equal(term.function(found, wanted), term.function(found, other))
