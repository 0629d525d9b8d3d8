import json

import pytest
import torch
import yaml
from tiny_models import OVERRIDES, write_tiny_model

import vitsplice
from vitsplice import settings_for, splice
from vitsplice.errors import ConfigError, ModelRejected
from vitsplice.metrics.leakage import OptimisedParts
from vitsplice.presets.model_folder import read_record

from ..conftest import noise

UNMEASURED = ("metrics=none",)


@pytest.fixture
def folder(tmp_path):
    write_tiny_model(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_folder_is_a_preset_without_steps(folder):
    settings = settings_for(folder)
    assert (settings.start, settings.steps, settings.model.folder) == ("model", 0, folder)
    assert settings.backbone.name == "tiny-vit"
    assert settings.match.grid == 6
    assert settings.preset == str(folder)
    assert settings_for(str(folder)) == settings


def test_settings_of_a_model_folder_are_restored_from_yaml(folder, tmp_path):
    settings = settings_for(folder)
    path = tmp_path / "run.yaml"
    path.write_text(settings.to_yaml())
    assert settings_for(path) == settings
    assert "model" not in yaml.safe_load(settings_for("tiny").to_yaml())


def test_a_preset_may_name_a_model_in_its_folder_by_a_relative_path(folder):
    path = folder.parent / "mine.yaml"
    path.write_text("backbone: {name: tiny-vit}\nstart: model\nmodel: model\nsteps: 0\n")
    settings = settings_for(path)
    assert settings.model.folder == folder
    assert settings.model.sha256 == settings_for(folder).model.sha256


def test_a_preset_may_not_name_a_model_elsewhere_without_its_digest(folder, tmp_path):
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / "mine.yaml"
    path.write_text("backbone: {name: tiny-vit}\nstart: model\nmodel: ../model\nsteps: 0\n")
    with pytest.raises(ConfigError, match=r"only name files in its own folder.*model\.folder"):
        settings_for(path)


@pytest.mark.slow
def test_overrides_make_a_preset_with_steps_start_from_a_model(folder, pair):
    settings = settings_for("tiny", overrides=["start=model", f"model={folder}", "match.grid=6", *UNMEASURED])
    assert settings.steps > 0
    assert settings.model.sha256
    result = splice(*pair, settings)
    assert result.finished
    assert result.record["model"]["terms"] == ["appearance", "structure"]


@pytest.mark.parametrize("override", ["start=model", "model=somewhere"])
def test_start_and_model_require_each_other(override):
    with pytest.raises(ConfigError, match="start: model requires model.folder .* and model.folder requires start"):
        settings_for("tiny", overrides=[override])


def test_unknown_key_of_model_is_named():
    with pytest.raises(ConfigError, match=r"model\.colour: unknown key"):
        settings_for("tiny", overrides=["start=model", "model={folder: x, colour: red}"])


@pytest.mark.parametrize(("name", "value"), [("structure_strength", 0.5), ("appearance_strength", 2.0)])
def test_strengths_without_effect_are_refused(folder, name, value):
    with pytest.raises(ConfigError, match=f"{name}.*has no effect"):
        settings_for(folder, **{name: value})


def test_a_folder_that_holds_no_model_is_refused(tmp_path):
    with pytest.raises(ModelRejected, match="is not the folder of a model: no folder name can have a NUL character"):
        read_record("a\0b")
    with pytest.raises(ModelRejected, match="is not the folder of a model: it has no model.yaml"):
        settings_for(str(tmp_path))
    with pytest.raises(ModelRejected, match="is not the folder of a model"):
        settings_for("tiny", overrides=["start=model", f"model={tmp_path}"])


def test_the_name_of_a_preset_is_not_taken_for_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny_model(tmp_path / "instant")
    assert settings_for("instant").start == "match"
    assert settings_for("./instant").start == "model"


@pytest.mark.slow
def test_a_run_without_steps_is_the_output_of_the_model(folder, pair):
    result = splice(*pair, folder, overrides=UNMEASURED)
    output = vitsplice.load_model(folder)(*pair)
    assert result.pixels.equal(output[0])


@pytest.mark.slow
def test_output_of_a_model_with_appearance_strength_0_is_the_structure_image(folder, pair):
    assert splice(*pair, folder, appearance_strength=0.0, overrides=UNMEASURED).pixels.allclose(pair[0][0])


@pytest.mark.slow
def test_a_structure_mask_composites_the_output(folder, pair):
    mask = noise(1, 40, 48).round()
    mask[..., :10] = 0
    result = splice(*pair, folder, structure_mask=mask, overrides=["mask.feather=0", *UNMEASURED])
    assert result.pixels[..., :10].equal(pair[0][0, ..., :10])
    assert not result.pixels.equal(pair[0][0])


@pytest.mark.slow
def test_an_appearance_mask_limits_the_match(folder, pair):
    mask = torch.ones(1, 40, 48)
    mask[..., 24:] = 0
    changed_outside, changed_inside = pair[1].clone(), pair[1].clone()
    changed_outside[..., 24:] = 0.5
    changed_inside[..., :24] = 0.5
    output, same, other = (
        splice(pair[0], image, folder, appearance_mask=mask, overrides=UNMEASURED).pixels
        for image in (pair[1], changed_outside, changed_inside)
    )
    assert output.equal(same)
    assert not output.equal(other)


def test_parts_that_the_model_was_trained_with_count_as_optimised(folder, pair):
    run = vitsplice.Run(*pair, settings_for(folder))
    record = run.record()
    assert record["model"]["networks"] == [{"name": "tiny-vit", "sha256": run.backbones["main"].info.sha256}]
    parts = OptimisedParts.of_run(json.loads(json.dumps(record)), run.settings.optimised_losses)
    assert parts.terms == ("appearance", "structure")
    assert [network.name for network in parts.networks] == ["tiny-vit"]


@pytest.mark.slow
def test_record_names_the_images_that_the_model_was_trained_on(tmp_path, pair):
    digest = vitsplice.Run(*pair, settings_for("tiny")).images["appearance"].sha256
    write_tiny_model(tmp_path / "model", images=[digest])
    assert vitsplice.Run(*pair, settings_for(tmp_path / "model")).record()["model"]["trained_on"] == ["appearance"]


def test_a_model_that_was_replaced_is_refused(folder, pair):
    settings = settings_for(folder)
    write_tiny_model(folder, seed=1)
    with pytest.raises(ModelRejected, match="not the one that these settings were made with"):
        splice(*pair, settings)


@pytest.mark.parametrize(("precision", "expected"), [("float32", "float32"), ("bfloat16", "auto")])
def test_a_model_folder_has_the_mask_settings_of_the_training_and_its_precision_if_float32(
    tmp_path, precision, expected
):
    trained = settings_for("tiny", overrides=[*OVERRIDES, "mask.feather=0", f"backbone.precision={precision}"])
    write_tiny_model(tmp_path / "model", settings=trained)
    settings = settings_for(tmp_path / "model")
    assert settings.mask == trained.mask
    assert settings.precision == expected
