"""Parts of a training: the model that it starts from."""

import pytest
import vitsplice_tiny_generator
from tiny_models import write_tiny_model
from torch import nn

from vitsplice.config import ModelConfig
from vitsplice.contracts import Option
from vitsplice.errors import ConfigError, ModelRejected
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for
from vitsplice.training.parts import TrainingParts, check_training


def parts_from(folder, generator="{name: tiny-tint}"):
    settings = settings_for("tiny-many", device="cpu", overrides=[f"generator={generator}"])
    return TrainingParts.build(settings, ModelConfig(folder=folder))


@pytest.mark.slow
def test_option_newer_than_the_initial_model_has_its_default_value(tmp_path, monkeypatch):
    class Newer(vitsplice_tiny_generator.TinyTint):
        def __init__(self, channels, strength=1.0, offsets=(0.0, 0.0)):
            super().__init__(channels, strength)

    write_tiny_model(tmp_path)
    options = catalogue().conditional_generators["tiny-tint"].options
    monkeypatch.setitem(options, "offsets", Option((0.0, 0.0), "an option that the initial model lacks"))
    monkeypatch.setattr(vitsplice_tiny_generator, "TinyTint", Newer)
    assert parts_from(tmp_path).options == {"strength": 1.0, "offsets": (0.0, 0.0)}
    with pytest.raises(ModelRejected, match="has generator"):
        parts_from(tmp_path, "{name: tiny-tint, options: {offsets: [0.0, 1.0]}}")


@pytest.mark.parametrize("generator", ["{name: tiny-tint, options: {strength: 2.0}}", "{name: splicenet}"])
def test_initial_model_of_another_generator_or_other_options_is_refused(tmp_path, generator):
    write_tiny_model(tmp_path)
    with pytest.raises(ModelRejected, match=r"has generator 'tiny-tint' \(strength=1\.0\), but the settings have"):
        parts_from(tmp_path, generator)


def test_initial_model_with_other_tensors_is_refused_before_features_are_computed(tmp_path, monkeypatch):
    class Wider(vitsplice_tiny_generator.TinyTint):
        def __init__(self, channels, strength=1.0):
            super().__init__(channels, strength)
            self.extra = nn.Linear(1, 1)

    write_tiny_model(tmp_path)
    monkeypatch.setattr(vitsplice_tiny_generator, "TinyTint", Wider)
    with pytest.raises(ModelRejected, match="does not fit generator 'tiny-tint'"):
        parts_from(tmp_path)


def test_message_on_a_changed_initial_model_names_the_way_to_start_from_it(tmp_path):
    write_tiny_model(tmp_path)
    config = ModelConfig(folder=tmp_path, sha256="0" * 64)
    with pytest.raises(ModelRejected, match="to use this one, repeat the command that began the training, with force"):
        TrainingParts.build(settings_for("tiny-many", device="cpu"), config)


def test_model_as_the_preset_is_refused_with_the_option_for_its_weights(tmp_path):
    write_tiny_model(tmp_path / "model")
    with pytest.raises(ConfigError, match=r"apply the trained model .*model, .* as initial, and give the preset"):
        check_training(settings_for(str(tmp_path / "model")))


def test_size_of_the_settings_is_refused_because_the_images_have_the_size_of_the_training():
    settings = settings_for("splicenet-residual", backbone="tiny-vit", size=64)
    with pytest.raises(ConfigError, match=r"size is not allowed in a training; .* training\.side"):
        check_training(settings)
