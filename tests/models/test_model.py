from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import OVERRIDES, write_model_of, write_tiny_model

import vitsplice
from vitsplice import load_model
from vitsplice.engine.conditions import WARPED_STRIDE
from vitsplice.errors import UserError
from vitsplice.models.mixing import Appearance, Mix
from vitsplice.models.model import ALIGNMENT
from vitsplice.models.tiling import BLEND

from ..conftest import noise


@pytest.fixture
def model(model_folder):
    return load_model(model_folder, device="cpu")


@pytest.mark.slow
def test_output_has_the_size_of_the_structure_image_and_is_deterministic(model, pair):
    structure, appearance = pair
    output = model(structure, appearance[..., :36])
    assert output.shape == structure.shape
    assert 0 <= output.min() < output.max() <= 1
    assert not output.requires_grad
    assert torch.equal(output, model(structure, appearance[..., :36]))
    assert not torch.equal(output, model(structure, structure))


def test_prepared_images_give_the_same_output_as_the_images(model, pair):
    structure, appearance = pair
    output = model(*pair)
    assert torch.equal(model(model.prepare_structure(structure), model.prepare(appearance)), output)


def test_an_appearance_image_is_described_once_for_many_structure_images(model, pair, monkeypatch):
    calls, call = [], type(model.backbone).__call__
    monkeypatch.setattr(
        type(model.backbone),
        "__call__",
        lambda *args: calls.append(1) or call(*args),
    )
    appearance = model.prepare(pair[1])
    assert len(calls) == 4  # as it is and mirrored, at two resolutions
    for image in pair:
        model(image, appearance)
    assert len(calls) == 4 + 2 * 2


def test_path_and_array_of_an_image_give_the_same_output(model, png, pair):
    array = (pair[0][0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    assert torch.equal(model(png[0], png[1]), model(array, png[1]))


@pytest.mark.slow
def test_outputs_of_a_batch_are_close_to_single_outputs(model, pair):
    structures = [pair[0], pair[1], pair[0][..., :32], pair[0].flip(-1)]
    appearances = [pair[1], pair[0], pair[1], pair[1]]
    outputs = model.batch(structures, appearances)
    for output, structure, appearance in zip(outputs, structures, appearances, strict=True):
        assert torch.allclose(output, model(structure, appearance), atol=1e-5)
    with pytest.raises(UserError, match="4 structure images require as many appearance images, not 1"):
        model.batch(structures, [pair[1]])


@pytest.mark.slow
def test_output_in_tiles_is_close_to_the_output_at_once(model, pair):
    size = (25 * WARPED_STRIDE, 26 * WARPED_STRIDE)  # otherwise tiles have cells of another size than the image
    structure = torch.nn.functional.interpolate(pair[0], size=size, mode="bicubic").clamp(0, 1)
    prepared, appearance = model.prepare_structure(structure), model.prepare(pair[1])
    tiled = replace(model, tile=288)(prepared, appearance)
    assert torch.allclose(tiled, model(prepared, appearance), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("generator", "upright"), [("splicenet", False), ("splicenet-residual", True)])
def test_outputs_of_the_built_in_generators_in_tiles_have_no_seams(tmp_path, pair, vit, generator, upright):
    write_model_of(tmp_path / "model", generator, vit, "tiny", OVERRIDES, {"width": 0.05}, std=1.0)
    model = load_model(tmp_path / "model", device="cpu")
    tile = 2 * model.generator.reach + BLEND + 2 * ALIGNMENT  # so that margins are as large as the reach
    size = (tile + 121, 35) if upright else (35, tile + 121)
    structure = torch.nn.functional.interpolate(pair[0], size=size, mode="bicubic").clamp(0, 1)
    condition = model.condition(model.prepare_structure(structure), model.prepare(pair[1])).values
    whole, tiled = (each.generate(structure, condition) for each in (model, replace(model, tile=tile)))
    assert float((tiled - whole).abs().max()) < 1e-4


def test_tiles_that_would_not_overlap_are_refused(model):
    with pytest.raises(UserError, match="tile=191 is not allowed; it must be at least 192"):
        replace(model, tile=191)


def test_loading_leaves_the_random_numbers_of_the_host_program_alone(model_folder):
    before = torch.get_rng_state()
    load_model(model_folder, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_a_mix_interpolates_conditions(model, pair):
    structure, other = pair[0], noise(1, 3, 40, 48)
    first, second = model.prepare(pair[1]), model.prepare(other)
    prepared = model.prepare_structure(structure)
    assert torch.allclose(model(structure, Mix([(first, 2.0), (second, 0.0)])), model(structure, first), atol=1e-6)
    values = model.condition(prepared, Mix([(first, 1.0), (second, 3.0)])).values
    alone = [model.condition(prepared, each).values for each in (first, second)]
    assert torch.allclose(values["start"], 0.25 * alone[0]["start"] + 0.75 * alone[1]["start"], atol=1e-6)
    assert torch.allclose(values["cls"].norm(dim=-1), torch.ones(1))
    assert torch.nn.functional.cosine_similarity(values["cls"], alone[1]["cls"]) > 0.8


@pytest.mark.parametrize(
    "weights", [[], [0.0, 0.0], [-1.0, 2.0], [float("nan"), 1.0], [float("inf"), 1.0], [1e308] * 2]
)
def test_invalid_weights_of_a_mix_are_refused(weights):
    with pytest.raises(UserError, match="mix"):
        Mix([(Appearance(image=None), weight) for weight in weights])


@pytest.mark.slow
def test_pixels_outside_of_the_appearance_mask_are_not_used(model, pair):
    mask = torch.zeros(1, 40, 48)
    mask[..., :24] = 1
    changed = torch.where(mask.bool(), pair[1], 1 - pair[1])
    assert torch.equal(*(model(pair[0], model.prepare(image, mask=mask)) for image in (pair[1], changed)))
    assert not torch.equal(model(pair[0], model.prepare(pair[1], mask=mask)), model(*pair))
    with pytest.raises(UserError, match="appearance mask"):
        model.prepare(pair[1], mask=mask[..., :20])


def test_the_representation_of_a_model_is_one_line(model):
    assert repr(model) == "Model(tiny-tint, 3 steps, backbone 'tiny-vit', cpu)"


def test_load_model_is_exported():
    assert vitsplice.load_model is load_model
    assert "load_model" in dir(vitsplice)


def test_the_model_states_what_it_was_trained_with(model):
    provenance = model.record.provenance()
    assert provenance["terms"] == ["appearance", "structure"]
    assert [network["name"] for network in provenance["networks"]] == ["tiny-vit"]
    assert provenance["sha256"] == model.record.digest


@pytest.mark.slow
def test_output_of_splicenet_residual_has_the_size_of_the_structure_image(tmp_path, pair):
    write_tiny_model(tmp_path / "model", generator="splicenet-residual", options={"width": 0.1})
    model = load_model(tmp_path / "model")
    assert model(*pair).shape == pair[0].shape
