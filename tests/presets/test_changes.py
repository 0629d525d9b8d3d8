"""The fewest arguments that turn a preset into given settings."""

import pytest

from vitsplice.config import ONLY
from vitsplice.presets.changes import Changes, changes_from_preset
from vitsplice.presets.settings import settings_for

PRESETS = ("paper", "official", "instant", "quick", "best", "tiny")


@pytest.mark.parametrize("preset", PRESETS)
def test_unchanged_preset_has_no_changes(preset):
    assert changes_from_preset(settings_for(preset)) == Changes(preset)


@pytest.mark.parametrize(
    ("preset", "arguments", "overrides"),
    [
        ("quick", {"steps": 10, "size": 256, "seed": 3, "structure_strength": 2.0}, ()),
        ("quick", {"backbone": "dino-vitb8"}, ("backbones.vit.side=96",)),
        ("quick", {"backbone": "dino-vitb8"}, ("backbones.vit.fallback=[dinov2-vits14]",)),
        ("quick", {}, ("stages=[{side: 32}]", "optimiser.lr=1.0e-05")),
        ("quick", {}, ("terms.mine={loss: structure, weight: 2.0}",)),
        ("official", {"steps": 3}, ()),
        ("official", {}, ("terms.structure.options.form=relative",)),
        ("official", {}, ("terms.structure.options={}",)),
        ("official", {}, ("with_fallback.steps=7",)),
        ("paper", {}, ("generator={name: pixels}",)),
        ("tiny", {}, ("size=null",)),
        ("instant", {}, ("metrics=none",)),
        ("instant", {"steps": 3}, ("start=structure", "terms.x={loss: structure, weight: 1.0}")),
        ("paper", {}, ("backbones.cnn={name: tiny-cnn}",)),
        ("tiny", {}, ("terms.structure.options.text=\u00a0x",)),
    ],
)
def test_changes_are_exactly_the_given_arguments_and_overrides(preset, arguments, overrides):
    settings = settings_for(preset, **arguments, overrides=overrides)
    changes = changes_from_preset(settings)
    assert changes.settings() == settings
    assert changes == Changes(preset, arguments, overrides)


def test_other_weights_are_among_the_changes(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"weights")
    settings = settings_for("tiny", overrides=[f"backbone.weights={tmp_path / 'w.pt'}"])
    assert changes_from_preset(settings).settings() == settings


def test_removed_term_is_a_change_of_all_terms():
    settings = settings_for("tiny")
    settings = settings.model_copy(update={"terms": {"structure": settings.terms["structure"]}})
    assert changes_from_preset(settings).overrides == ("terms={structure: {loss: structure, weight: 1.0, start: 1}}",)


def test_removed_further_backbones_are_a_change_of_the_match():
    settings = settings_for("instant", overrides=["match.further_backbones=[]", "match.grid=20"])
    changes = changes_from_preset(settings)
    assert changes.overrides == ("match={grid: 20}",)
    assert changes.settings() == settings


def test_with_fallback_that_is_kept_with_another_backbone_is_among_the_changes():
    settings = settings_for("official")
    renamed = settings.backbone.model_copy(update={"name": "dino-vits16"})
    settings = settings.model_copy(update={"backbones": {ONLY: renamed}})
    assert changes_from_preset(settings).settings() == settings


def test_changes_are_none_without_an_available_preset():
    settings = settings_for("official")
    assert changes_from_preset(settings.model_copy(update={"preset": None})) is None
    assert changes_from_preset(settings.model_copy(update={"preset": "gone"})) is None


def test_values_are_one_line_of_yaml():
    text = "x: " * 50 + "é"
    settings = settings_for("tiny", overrides=[f"terms.structure.options.text='{text}'"])
    (override,) = changes_from_preset(settings).overrides
    assert "\n" not in override
    assert text in override
