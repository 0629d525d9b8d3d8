"""Settings of training."""

import pytest
import yaml

from vitsplice.config import TrainingConfig
from vitsplice.errors import ConfigError
from vitsplice.presets.loading import load

TRAINABLE = "backbone: {name: tiny-vit}\nterms: {a: {loss: appearance, weight: 1}}\nsteps: 2\ntraining: {batch: 2}\n"


def test_settings_of_a_run_do_not_mention_training():
    assert "training" not in yaml.safe_load(load(TRAINABLE.replace("training: {batch: 2}", ""), "preset").to_yaml())


def test_written_settings_of_training_are_read_back():
    settings = load(TRAINABLE, "preset")
    assert settings.training == TrainingConfig(batch=2)
    assert load(settings.to_yaml(), "written") == settings


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps=0", "steps: 0 is not allowed with training"),
        ("terms={}", "these settings have no loss terms; use a preset with terms"),
        ("stages=[{side: 32}]", "stages are not allowed with training"),
        ("training.batch=0", "training.batch"),
        ("training.ema=1", "training.ema"),
        ("training.held_out=0.95", "training.held_out"),
    ],
)
def test_impossible_training_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load(TRAINABLE, "preset", [override])


def test_training_matches_images_by_the_first_backbone_only():
    several = TRAINABLE.replace(
        "backbone: {name: tiny-vit}", "backbones: {vit: {name: tiny-vit}, cnn: {name: tiny-cnn}}"
    )
    with pytest.raises(ConfigError, match=r"match\.further_backbones is not allowed with training"):
        load(several, "preset", ["match.further_backbones=[cnn]"])
