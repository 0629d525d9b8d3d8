"""The nodes, in a stand-in for ComfyUI and on tiny networks."""

import inspect
import logging
import sys
import weakref
from types import SimpleNamespace

import pytest
import torch
import vitsplice_tiny
from fake_comfyui_api import InterruptProcessingException
from releases import expect_released_runs

import vitsplice
from tests.conftest import noise, smooth_pair
from vitsplice.analysis.correspondence import match_images
from vitsplice.analysis.pca import pca
from vitsplice.engine.backbones import load_configured
from vitsplice.errors import ImageError, OutOfMemory, UserError, WeightsUnavailable
from vitsplice.plugins import catalogue

TINY = {"preset": "tiny", "backbone": "tiny-vit", "size": 40}


def batch(*images):
    """Convert images (1, 3, H, W) of one size to a ComfyUI IMAGE (B, H, W, 3)."""
    return torch.cat(images).movedim(1, -1)


@pytest.fixture
def pair():
    return smooth_pair()


@pytest.fixture(scope="module")
def vit():
    return vitsplice_tiny.tiny_vit()


@pytest.fixture
def inputs(pair):
    structure, appearance = pair
    return {"structure": batch(structure), "appearance": batch(appearance)}


def transfer(comfyui, **inputs):
    (output,) = comfyui.call("VitspliceTransfer", **TINY | inputs)
    return output


def expected(structure, appearance, **settings):
    """The output of the same run without ComfyUI, (H, W, 3)."""
    settings = {"backbone": "tiny-vit", "size": 40, "seed": 0, "overrides": ["metrics=none"]} | settings
    return vitsplice.splice(structure, appearance, "tiny", **settings).pixels.movedim(0, -1)


@pytest.mark.parametrize("name", ["VitspliceTransfer", "VitspliceCorrespond", "VitsplicePCA"])
def test_execute_takes_the_inputs_of_the_schema(comfyui, name):
    parameters = inspect.signature(comfyui.nodes[name].execute).parameters
    inputs = comfyui.schema(name).inputs
    assert [item.id for item in inputs] == list(parameters)
    assert {item.id for item in inputs if item.optional} == {
        parameter.name for parameter in parameters.values() if parameter.default is None
    }


def test_choices_are_those_of_the_registry(comfyui):
    schema = comfyui.schema("VitspliceTransfer")
    presets = schema.input("preset").options
    assert {"quick", "tiny"} <= set(presets)
    assert not {"invert", "splicenet", "tiny-many"} & set(presets)
    assert schema.input("backbone").options == ["default", *catalogue().backbones]
    assert "without presets, that of quick." in comfyui.schema("VitsplicePCA").input("backbone").tooltip


@pytest.mark.slow
def test_transfer_gives_the_output_of_a_run(comfyui, inputs, pair):
    output = transfer(comfyui, **inputs, steps=3, seed=7, appearance_strength=2.0)
    assert (output.shape, output.dtype, output.is_inference()) == ((1, 40, 48, 3), torch.float32, True)
    assert torch.equal(output[0], expected(*pair, steps=3, seed=7, appearance_strength=2.0))


@pytest.mark.slow
def test_one_appearance_image_is_used_for_a_batch_of_structure_images(comfyui, pair):
    structures = pair[0], pair[0].flip(-1)
    output = transfer(comfyui, structure=batch(*structures), appearance=batch(pair[1]), steps=1)
    for image, structure in zip(output, structures, strict=True):
        assert torch.equal(image, expected(structure, pair[1], steps=1))


def test_batches_of_different_sizes_are_refused(comfyui, pair):
    structure, appearance = batch(*[pair[0]] * 3), batch(*[pair[1]] * 2)
    with pytest.raises(UserError, match="structure 3, appearance 2. Give either 3 images in a batch, or 1 image"):
        transfer(comfyui, structure=structure, appearance=appearance)


def test_empty_batch_is_refused_by_name(comfyui, inputs):
    empty = inputs["appearance"][:0]
    with pytest.raises(UserError, match="the batch 'appearance' is empty; give at least 1 image"):
        transfer(comfyui, **inputs | {"appearance": empty})
    with pytest.raises(UserError, match="the batch 'first' is empty"):
        comfyui.call("VitspliceCorrespond", first=empty, second=empty, backbone="tiny-vit", grid=5)


def test_all_images_and_masks_are_checked_before_the_first_run(comfyui, pair):
    structures, appearance = batch(*[pair[0]] * 3), batch(pair[1])
    black = torch.ones(3, 40, 48)
    black[2] = 0
    with pytest.raises(UserError, match="image 3 of 3: .*black everywhere"):
        transfer(comfyui, structure=structures, appearance=appearance, structure_mask=black)
    structures[1, 0, 0] = float("nan")
    with pytest.raises(ImageError, match="image 2 of 3: .*NaN"):
        transfer(comfyui, structure=structures, appearance=appearance)
    assert comfyui.progress == []


def test_mask_of_any_layout_is_read(comfyui):
    mask_batch = sys.modules[comfyui.nodes["VitspliceTransfer"].__module__].mask_batch
    masks = noise(2, 40, 48)
    for same in (masks, masks[:, None], masks[..., None]):
        assert torch.equal(mask_batch(same), masks)
    assert torch.equal(mask_batch(masks[0]), masks[:1])
    assert mask_batch(masks[:1, None, :, :1]).shape == (1, 40, 1)


@pytest.mark.slow
def test_masks_are_those_of_a_run(comfyui, inputs, pair):
    mask = torch.zeros(1, 40, 48)
    mask[..., 24:] = 1
    output = transfer(comfyui, **inputs, steps=1, structure_mask=mask, appearance_mask=mask[0])
    assert torch.equal(output[0], expected(*pair, steps=1, structure_mask=mask, appearance_mask=mask))
    assert torch.equal(output[0, :, :8], inputs["structure"][0, :, :8])


@pytest.mark.slow
def test_placeholder_of_an_image_without_a_mask_is_ignored_and_any_other_mask_is_checked(comfyui, inputs):
    output = transfer(comfyui, **inputs, steps=1, structure_mask=torch.zeros(1, 64, 64))
    assert torch.equal(output, transfer(comfyui, **inputs, steps=1))
    with pytest.raises(UserError, match="it must be as large as the structure image, 48x40"):
        transfer(comfyui, **inputs, structure_mask=torch.ones(1, 64, 64))
    for size, message in (((40, 48), "black everywhere"), ((128, 128), "as large as the structure image")):
        with pytest.raises(UserError, match=message):
            transfer(comfyui, **inputs, structure_mask=torch.zeros(1, *size))


@pytest.mark.slow
def test_values_outside_of_the_range_are_clamped_and_nan_is_refused(comfyui, inputs, pair):
    output = transfer(comfyui, structure=inputs["structure"] * 1.5 - 0.2, appearance=inputs["appearance"], steps=1)
    assert torch.equal(output[0], expected((pair[0] * 1.5 - 0.2).clamp(0, 1), pair[1], steps=1))
    with pytest.raises(ImageError, match="contains NaN"):
        transfer(comfyui, structure=inputs["structure"] * float("nan"), appearance=inputs["appearance"])


@pytest.mark.slow
def test_progress_counts_the_start_and_every_step_of_all_images(comfyui, pair):
    transfer(comfyui, structure=batch(*[pair[0]] * 2), appearance=batch(pair[1]), steps=2)
    assert [(value, total) for value, total, _ in comfyui.progress] == [(n, 6) for n in range(1, 7)]
    previews = [preview for _, _, preview in comfyui.progress]
    assert [preview is None for preview in previews] == [True, False, False] * 2
    assert previews[1][1].size == (48, 40)


# every second or third step has a preview, so that there are at most 20
@pytest.mark.parametrize(("steps", "previews"), [(39, 19), (59, 19)])
def test_number_of_previews_is_bounded(comfyui, inputs, steps, previews, monkeypatch):
    run = SimpleNamespace(settings=SimpleNamespace(steps=steps), substitutions={})
    run.steps, run.pixels = lambda: range(steps), lambda: torch.zeros(3, 4, 4)
    monkeypatch.setattr(sys.modules[comfyui.nodes["VitspliceTransfer"].__module__], "_prepared", lambda *_: run)
    transfer(comfyui, **inputs)
    assert sum(preview is not None for _, _, preview in comfyui.progress) == previews


@pytest.mark.slow
def test_interruption_ends_the_execution_at_the_next_step(comfyui, inputs):
    comfyui.interrupt_after = 2
    with pytest.raises(InterruptProcessingException):
        transfer(comfyui, **inputs)
    assert len(comfyui.progress) == 2


@pytest.mark.slow
def test_backbone_is_loaded_once_for_all_nodes(comfyui, inputs, monkeypatch):
    loads = []

    def load(config, known):
        loads.append(config.name)
        return load_configured(config, known)

    monkeypatch.setattr("vitsplice.engine.backbones.load_configured", load)
    overrides = "\n precision=float32 \n\ndevice=cpu"
    first = transfer(comfyui, **inputs, steps=1, overrides=overrides)
    images = {"first": inputs["structure"], "second": inputs["appearance"]}
    comfyui.call("VitspliceCorrespond", **images, backbone="tiny-vit", grid=5)
    comfyui.call("VitsplicePCA", images=inputs["structure"], backbone="tiny-vit", size=48)
    assert torch.equal(transfer(comfyui, **inputs, steps=1, overrides=overrides), first)
    assert loads == ["tiny-vit"]


@pytest.mark.slow
def test_fallback_is_logged_and_an_unavailable_backbone_is_an_error(comfyui, inputs, caplog):
    with caplog.at_level(logging.WARNING):
        transfer(comfyui, **inputs | {"backbone": "default"}, steps=1)
    assert "backbone 'tiny-gone' is unavailable, so 'tiny-vit' is used instead" in caplog.text
    with pytest.raises(WeightsUnavailable, match="the weights of 'tiny-gone' are unavailable"):
        transfer(comfyui, **inputs | {"backbone": "tiny-gone"}, steps=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overrides": "optimiser.lr=-1"}, "optimiser.lr"),
        ({"overrides": "stepz=3"}, "stepz"),
        ({"overrides": "generator.name=none-such"}, "none-such"),
    ],
)
def test_errors_have_the_text_of_the_python_interface(comfyui, inputs, settings, message):
    with pytest.raises(UserError, match=message):
        transfer(comfyui, **inputs | settings)


@pytest.mark.slow
def test_failed_attempt_is_released_before_the_models_of_comfyui_are_unloaded(comfyui, inputs, monkeypatch):
    attempts = []

    def check(estimate, *_):
        alive = [attempt for attempt in attempts if attempt() is not None]
        attempts.append(weakref.ref(estimate))
        assert not alive
        if len(attempts) == 1:
            raise OutOfMemory("too small")

    monkeypatch.setattr("vitsplice.engine.memory.check", check)
    transfer(comfyui, **inputs, steps=1)
    assert len(attempts) == 2


@pytest.mark.slow
def test_run_of_a_batch_is_released_before_the_next_is_built(comfyui, pair, monkeypatch):
    runs = expect_released_runs(monkeypatch, sys.modules[comfyui.nodes["VitspliceTransfer"].__module__])
    transfer(comfyui, structure=batch(*[pair[0]] * 2), appearance=batch(pair[1]), steps=1)
    assert len(runs) == 2


@pytest.mark.slow
def test_models_of_comfyui_are_unloaded_if_memory_is_too_small(comfyui, inputs, monkeypatch):
    checks = []

    def check(*_):
        checks.append(comfyui.models_unloaded)
        if len(checks) in (1, 3, 4):
            raise OutOfMemory("too small")

    monkeypatch.setattr("vitsplice.engine.memory.check", check)
    transfer(comfyui, **inputs, steps=1)
    with pytest.raises(OutOfMemory):
        transfer(comfyui, **inputs, steps=1)
    assert checks == [0, 1, 1, 2]  # each transfer checks twice: before and after it unloads the models


@pytest.mark.slow
def test_correspond_gives_the_images_of_the_command(comfyui, inputs, pair, vit):
    first, second = pair
    settings = {"grid": 5, "temperature": 0.05, "balance": 0.5}
    matches, warped, confidence = comfyui.call(
        "VitspliceCorrespond",
        first=batch(first, first),
        second=batch(second),
        backbone="tiny-vit",
        points=3,
        **settings,
    )
    result = match_images(first, second, backbone=vit, **settings)
    assert (matches.shape, warped.shape, confidence.shape) == ((2, 480, 1152, 3), (2, 40, 48, 3), (2, 40, 48))
    assert torch.equal(warped[1], result.warped_colours().movedim(0, -1))
    assert torch.equal(confidence[1], result.confidence_map()[0])
    assert [value for value, _, _ in comfyui.progress] == [1, 2]


@pytest.mark.parametrize("layer", [0, -1])
def test_pca_gives_the_maps_of_the_command_with_shared_colours(comfyui, layer, vit):
    images = [noise(1, 3, 40, 48, seed=seed) for seed in (1, 2)]
    (components,) = comfyui.call("VitsplicePCA", images=batch(*images), backbone="tiny-vit", layer=layer, size=48)
    maps = pca(images, backbone=vit, layer=layer, size=48)
    assert components.shape == (2, 40, 48, 3)
    for index, image in enumerate(components):
        assert torch.equal(image, maps.upsampled(*maps.maps, index).movedim(0, -1))


def test_facet_that_the_backbone_does_not_have_is_an_error(comfyui, inputs):
    with pytest.raises(UserError, match="map"):
        comfyui.call("VitsplicePCA", images=inputs["structure"], backbone="tiny-vit", facet="map")
