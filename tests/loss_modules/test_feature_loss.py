"""One loss term as a module: checks, cached targets, gradients."""

import copy
from dataclasses import replace

import pytest
import torch
import vitsplice_tiny

from tests.conftest import noise
from vitsplice.contracts import MASK, PIXELS, LossSpec, LossTerm
from vitsplice.errors import ConfigError, ImageError, UserError
from vitsplice.loss_modules import AppearanceLoss, FeatureLoss, IdentityLoss, StructureLoss, from_preset
from vitsplice.plugins import catalogue

UNUSABLE = {"nan-at-fourth", "tiny-nap"}  # terms of the test plugin: NaN from the fourth call; always 0
TERMS = sorted(set(catalogue().losses) - UNUSABLE)
SPLICE = [AppearanceLoss, StructureLoss, IdentityLoss]


pytestmark = pytest.mark.usefixtures("coarse_match")


def module(name, backbone, pair, **settings):
    return FeatureLoss(backbone, name, size=32, **settings).set_targets(*pair)


def output(pair):
    return (0.5 * (pair[0] + pair[1])).requires_grad_()


@pytest.mark.parametrize("kind", SPLICE)
def test_module_works_in_a_training_loop(kind, backbone, pair):
    image, target = pair[0].clone().requires_grad_(), pair[1].clone().requires_grad_()
    loss = kind(backbone, size=32)
    optimiser = torch.optim.SGD([image], lr=0.0)
    value = loss(image, target)
    value.backward()
    optimiser.step()
    assert value.shape == ()
    assert image.grad.abs().sum() > 0
    assert target.grad is None
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert loss(image, image).item() == 0


@pytest.fixture
def sizes(vit, monkeypatch):
    """Height and width of each image batch that the backbone is called with."""
    sizes, forward = [], type(vit).forward
    monkeypatch.setattr(
        type(vit), "forward", lambda self, x, *args: sizes.append(x.shape[-2:]) or forward(self, x, *args)
    )
    return sizes


def test_images_are_resized_to_a_size_that_the_backbone_takes(vit, pair, sizes):
    assert StructureLoss(vit, size=24)(*(p[..., :33, :] for p in pair)).item() > 0
    assert set(sizes) == {(24, 32)}  # the shorter side of 33x48 becomes 24, the other 35, rounded to a multiple of 8


def test_size_none_keeps_the_image_size(vit, pair, sizes):
    exact = tuple(p[..., :32, :40] for p in pair)
    assert StructureLoss(vit, size=None)(*exact).item() > 0
    assert set(sizes) == {(32, 40)}


def test_unknown_option_is_refused_with_a_suggestion(vit):
    with pytest.raises(ConfigError, match="foam: 'structure' has no such option.*Did you mean form"):
        StructureLoss(vit, foam="mse")


@pytest.mark.parametrize("name", ["texture", "statistics", "contrast", "grain", "patches", "edges", "smoothness"])
@pytest.mark.parametrize(
    ("selected", "given"),
    [({"facet": "key"}, "facet 'key'"), ({"layer": 0}, "layer 0"), ({"facet": "lab", "layer": 9}, "'lab' and layer 9")],
)
def test_facet_and_layer_are_refused_by_terms_that_use_neither(name, selected, given, vit):
    with pytest.raises(ConfigError, match=f"the loss term '{name}' takes no facet and no layer; remove .*{given}"):
        FeatureLoss(vit, name, **selected)


def test_option_with_the_name_of_an_argument_is_passed_in_options(vit, pair):
    small, large = (FeatureLoss(vit, "patches", size=40, options={"size": side}).set_targets(*pair) for side in (3, 9))
    assert small(output(pair)) != large(output(pair))


@pytest.mark.parametrize("name", TERMS)
def test_every_installed_term_works_as_a_module(name, backbone, pair):
    loss, image = module(name, backbone, pair), output(pair)
    value = loss(image)
    assert value.shape == ()
    assert value.isfinite()
    value.backward()
    assert image.grad.isfinite().all()
    assert image.grad.abs().sum() > 0
    assert torch.equal(loss(image), value)


@pytest.mark.parametrize("name", TERMS)
def test_target_argument_has_the_effect_of_set_targets(name, vit, pair):
    loss, image = module(name, vit, pair), output(pair)
    images = {"structure": pair[0], "start": pair[0], "appearance": pair[1]}
    target = images[catalogue().losses[name].target]
    assert torch.equal(loss(image, target), loss(image))


@pytest.mark.slow
@pytest.mark.parametrize("name", TERMS)
def test_value_of_a_batch_is_the_mean_over_its_images(name, vit, pair):
    others = tuple(p.flip(-1) for p in pair)
    batch = tuple(map(torch.cat, zip(pair, others, strict=True)))
    image, single = output(pair), [module(name, vit, p)(output(p)) for p in (pair, others)]
    outputs = torch.cat([image, output(others)])
    torch.testing.assert_close(module(name, vit, batch)(outputs), torch.stack(single).mean())
    torch.testing.assert_close(module(name, vit, pair)(torch.cat([image, image])), single[0])


@pytest.mark.parametrize("name", TERMS)
def test_gradients_agree_with_finite_differences(name, vit, pair):
    """Compare slopes along the gradient only, where float32 is precise enough."""
    loss, image = module(name, vit, pair), 0.3 + 0.4 * noise(*pair[0].shape)  # no neighbouring pixels are equal
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(image), image)
    along = gradient / gradient.norm()
    step = 1e-3
    with torch.no_grad():
        slope = (loss(image + step * along) - loss(image - step * along)) / (2 * step)
    torch.testing.assert_close(slope, gradient.norm(), rtol=0.05, atol=1e-6)


def test_target_features_are_cached_until_targets_or_module_change(vit, pair, monkeypatch):
    calls = []
    forward = type(vit).forward
    monkeypatch.setattr(type(vit), "forward", lambda self, *args: calls.append(1) or forward(self, *args))
    loss = module("structure", vit, pair)
    loss(output(pair)), loss(output(pair))
    assert len(calls) == 3  # two outputs, one target
    loss.set_targets(pair[1])
    assert loss(pair[1]).item() == 0
    assert len(calls) == 5
    loss.float()(pair[1])
    assert len(calls) == 7


def test_cached_target_features_are_dropped_when_a_module_that_holds_the_loss_loads_weights(vit, pair):
    loss = copy.deepcopy(module("structure", vit, pair))
    parent = torch.nn.ModuleDict({"loss": loss})
    value = loss(output(pair))
    parent.load_state_dict({name: weight + 0.1 for name, weight in parent.state_dict().items()})
    changed = loss(output(pair))
    assert not torch.equal(changed, value)
    assert torch.equal(changed, loss.set_targets(*pair)(output(pair)))


def test_cached_target_features_are_dropped_when_weights_made_in_inference_mode_are_loaded(pair):
    with torch.inference_mode():
        backbone = vitsplice_tiny.tiny_vit()
        loss = module("structure", backbone, pair)
        value = loss(pair[1])
        loss.load_state_dict({name: weight + 0.1 for name, weight in loss.state_dict().items()})
        changed = loss(pair[1])
        assert not torch.equal(changed, value)
        assert torch.equal(changed, loss.set_targets(*pair)(pair[1]))


@pytest.mark.parametrize("assign", [False, True])
def test_cached_target_features_are_dropped_when_the_backbone_itself_loads_weights(assign, vit, pair):
    backbone = copy.deepcopy(vit)
    loss = module("structure", backbone, pair)
    value = loss(output(pair))
    backbone.load_state_dict({name: weight + 0.1 for name, weight in backbone.state_dict().items()}, assign=assign)
    changed = loss(output(pair))
    assert not torch.equal(changed, value)
    assert torch.equal(changed, loss.set_targets(*pair)(output(pair)))


def test_cached_target_features_are_dropped_when_another_loss_casts_the_backbone(vit, pair):
    backbone = copy.deepcopy(vit)
    loss, other = (module("structure", backbone, pair) for _ in range(2))
    assert loss(pair[0]) == 0
    other.bfloat16()
    assert loss(pair[0]) == 0  # above 0 with target features cached in float32


def test_cached_target_features_are_dropped_when_statistics_of_batch_norm_change(cnn, pair):
    backbone = copy.deepcopy(cnn)
    loss = module("feature", backbone, (pair[1], pair[1]))
    assert loss(pair[1]) == 0
    for layer in backbone.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_var.mul_(1.2)
    assert loss(pair[1]) == 0


def test_backbone_stays_frozen_when_a_module_that_holds_the_loss_is_unfrozen(vit, pair):
    loss = copy.deepcopy(module("structure", vit, pair))
    torch.nn.ModuleDict({"loss": loss}).requires_grad_(True)
    loss(output(pair)).backward()
    assert all(weight.grad is None and not weight.requires_grad for weight in loss.parameters())


def test_gradient_by_torch_func_equals_that_of_backward(vit, pair):
    loss, image = module("structure", vit, pair), output(pair)
    loss(image).backward()
    assert torch.equal(torch.func.grad(loss)(image.detach()), image.grad)


def test_copies_for_several_devices_are_refused(vit):
    with pytest.raises(UserError, match="DataParallel cannot copy a loss module to several devices; wrap only your"):
        StructureLoss(vit)._replicate_for_data_parallel()  # DataParallel calls it only if there are several GPUs


def test_targets_are_copied(vit, pair):
    image = pair[0].clone()
    loss = StructureLoss(vit, size=32).set_targets(image)
    image.zero_()
    assert loss(pair[0]).item() == 0


def test_targets_from_inference_mode_allow_gradients(vit, pair):
    with torch.inference_mode():
        loss = module("smoothness", vit, tuple(p + 0 for p in pair))  # the sums are inference tensors
        loss(pair[1])
    image = output(pair)
    loss(image).backward()
    assert image.grad.any()


def test_loss_that_is_cast_in_inference_mode_allows_gradients(pair):
    loss = StructureLoss(vitsplice_tiny.tiny_vit(), size=32)
    with torch.inference_mode():
        loss.double()
        loss.float()
    image = output(pair)
    loss(image, pair[0]).backward()
    assert image.grad.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_output_of_another_dtype_gives_a_loss_in_float32_and_a_gradient_in_its_own_dtype(dtype, vit, pair):
    image = output(pair).detach().to(dtype).requires_grad_()
    loss = StructureLoss(vit, size=32)
    value = loss(image, pair[0])
    value.backward()
    assert value.dtype == torch.float32
    assert image.grad.dtype == dtype
    torch.testing.assert_close(value, loss(image.float(), pair[0]))


def test_uint8_is_divided_by_255_and_a_single_image_is_accepted(vit, pair):
    bytes_ = (pair[0] * 255).round().to(torch.uint8)
    loss = StructureLoss(vit, size=32)
    assert torch.equal(loss(pair[1], bytes_), loss(pair[1], bytes_ / 255))
    assert torch.equal(loss(pair[1][0], pair[0][0]), loss(pair[1], pair[0]))


def test_autocast_does_not_change_the_value(vit, pair):
    loss = module("texture", vit, pair)
    value = loss(output(pair))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(output(pair)), value)
        assert torch.equal(module("texture", vit, pair)(output(pair)), value)


@pytest.mark.parametrize("kind", SPLICE)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: p * 255, "must be in"),
        (lambda p: p * torch.nan, "NaN"),
        (lambda p: p.movedim(1, -1), "movedim"),
        (lambda p: p[:, :1], "RGB has 3 channels"),
        (lambda p: p.long(), "uint8 or float"),
        (lambda p: p.numpy(), "not an ndarray"),
        (lambda p: torch.cat([p, p, p]), r"batches differ in size \(.*(: 3, .*: 2|: 2, .*: 3)\); give equally many"),
    ],
)
def test_invalid_images_are_refused_as_output_and_as_target(kind, change, expected, vit, pair):
    loss = kind(vit, size=32)
    two = torch.cat([pair[0], pair[1]])
    wrong = change(pair[0])
    for images in ((wrong, two), (two, wrong)):
        with pytest.raises(UserError, match=expected):
            loss(*images)


@pytest.mark.slow
def test_term_whose_target_is_the_structure_image_uses_the_match_with_each_appearance_image(vit, pair):
    spec = replace(catalogue().losses["texture"], target="structure")
    appearances = pair[1], 1 - pair[1]

    def value(appearance):
        loss = FeatureLoss(vit, spec, size=32, samples=0, guide=1.0).set_targets(pair[0], appearance)
        return loss(pair[1].expand(len(appearance), -1, -1, -1)).item()

    first, second = (value(appearance) for appearance in appearances)
    assert first != pytest.approx(second, rel=0.01)
    assert value(torch.cat(appearances)) == pytest.approx((first + second) / 2, rel=1e-5)


def test_output_may_overshoot_slightly_and_the_range_check_is_optional(vit, pair):
    overshooting = pair[0] - pair[0].min() - 0.04
    StructureLoss(vit, size=32)(overshooting, pair[0])
    with pytest.raises(ImageError, match="'output' contains values from -0.0"):
        StructureLoss(vit, size=32)(overshooting - 0.02, pair[0])
    StructureLoss(vit, size=32, check=False)(overshooting - 0.02, pair[0])


def test_missing_image_is_named(vit, pair):
    with pytest.raises(UserError, match=r"term 'texture' needs the image 'structure'.*set_targets\(structure"):
        FeatureLoss(vit, "texture", size=32)(*pair)
    with pytest.raises(UserError, match=r"term 'structure' needs the image 'structure'"):
        StructureLoss(vit, size=32)(pair[0])


def test_output_of_another_size_is_refused_only_by_terms_that_compare_locations(vit, pair):
    for name in ("structure", "smoothness", "edges", "texture", "identity"):
        with pytest.raises(UserError, match=r"the output is 40x20 \(height x width\), .*40x48"):
            module(name, vit, pair)(pair[0][..., :20])
    assert module("texture", vit, (pair[0], pair[1][..., :20]))(pair[0]).isfinite()
    assert AppearanceLoss(vit, size=32)(pair[0][..., :20], pair[1]).isfinite()
    assert module("patches", vit, pair, uniform=1.0)(pair[0][..., :20]).isfinite()


def test_mask_of_the_output_has_the_size_of_the_output(vit, pair):
    def masked_brightness(output, target):
        return (output[PIXELS].values * output[MASK].values).mean() - target[PIXELS].values.mean()

    term = LossTerm((PIXELS, MASK), masked_brightness)
    spec = LossSpec("masked", lambda context: term, "brightness", "structure", "appearance")
    assert module(spec, vit, (pair[0], pair[1]))(pair[1][..., :24]).isfinite()


def test_backbone_is_a_name_or_a_loaded_backbone(vit, pair):
    named = StructureLoss("tiny-vit", size=32)
    assert torch.equal(named(*pair), StructureLoss(vit, size=32)(*pair))
    with pytest.raises(UserError, match="no backbone 'tiny-vitt'"):
        StructureLoss("tiny-vitt")
    with pytest.raises(UserError, match=r"the name of a backbone, or one from .*, not a Conv2d"):
        StructureLoss(torch.nn.Conv2d(3, 3, 1))


def test_unknown_term_is_refused_with_a_suggestion(vit):
    with pytest.raises(UserError, match="'textur'.*texture"):
        FeatureLoss(vit, "textur")


def test_target_may_be_a_path(vit, pair, png):
    loss = StructureLoss(vit, size=32).set_targets(str(png[0]))
    torch.testing.assert_close(loss(pair[0]), torch.tensor(0.0), atol=1e-4, rtol=0)


def test_deep_copy_is_independent(vit, pair):
    loss = module("texture", vit, pair)
    value = loss(output(pair))
    duplicate = copy.deepcopy(loss)
    duplicate.set_targets(pair[1], pair[0])
    assert torch.equal(loss(output(pair)), value)


def test_layout_is_checked_before_resizing(vit):
    with pytest.raises(ImageError, match="movedim"):
        StructureLoss(vit)(torch.zeros(1).expand(1, 4096, 4096, 3), noise(1, 3, 32, 32))


@pytest.mark.parametrize("size", [0, -5, 8, 5000, 32.5, float("nan"), "224"])
def test_size_out_of_range_is_refused(size, vit):
    with pytest.raises(UserError, match="from 16 to 4096 px, or None"):
        StructureLoss(vit, size=size)


def test_missing_or_misplaced_arguments_are_refused(vit, pair):
    with pytest.raises(UserError, match="backbone is missing"):
        StructureLoss(None)
    with pytest.raises(UserError, match="name of a loss term, or a LossSpec, not None"):
        FeatureLoss(vit, None)
    with pytest.raises(
        UserError, match="preset is the name of a preset, a YAML file, a model folder, or settings, not a Tensor"
    ):
        from_preset(*pair)
