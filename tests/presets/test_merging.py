import pytest

from vitsplice.errors import ConfigError
from vitsplice.presets import loading
from vitsplice.presets.merging import changed_keys
from vitsplice.presets.settings import settings_for

PRESET = """
backbone: {name: gone, fallback: [there]}
terms:
  appearance: {loss: appearance, weight: 1, options: {form: norm}}
  structure: {loss: structure, weight: 0.1}
generator: {name: unet, options: {channels: [8, 16]}}
optimiser: {lr: 0.002, schedule: constant}
steps: 2000
with_fallback:
  terms:
    appearance: {weight: 3}
    texture: {loss: texture, weight: 4, options: {guide: 0}}
  optimiser: {schedule: cosine}
  steps: 1000
"""


def load(*overrides, preset=PRESET):
    return loading.load(preset, "preset", overrides)


def test_settings_for_the_fallback_replace_only_what_they_name():
    settings = load()
    merged = loading.with_fallback(settings, "preset")
    assert settings.terms["appearance"].weight == 1
    assert merged.terms["appearance"].weight == 3
    assert merged.terms["appearance"].options == {"form": "norm"}
    assert merged.terms["structure"] == settings.terms["structure"]
    assert merged.terms["texture"].options == {"guide": 0}
    assert (merged.optimiser.lr, merged.optimiser.schedule, merged.steps) == (0.002, "cosine", 1000)
    assert merged.with_fallback == {}
    assert merged.backbone == settings.backbone


def test_settings_without_settings_for_the_fallback_are_unchanged():
    settings = load(preset=PRESET.partition("with_fallback")[0])
    assert loading.with_fallback(settings, "preset") is settings


def test_another_generator_has_its_own_options_alone():
    changed = load(preset=PRESET + "  generator: {name: pixels}")
    assert loading.with_fallback(changed, "preset").generator.options == {}
    same = load(preset=PRESET + "  generator: {options: {slope: 0.1}}")
    assert loading.with_fallback(same, "preset").generator.options == {"channels": [8, 16], "slope": 0.1}


@pytest.mark.parametrize("name", ["pixels", "unet"])
def test_override_of_the_generator_name_applies_to_the_fallback_too(name):
    text = PRESET + "  generator: {name: pyramid, options: {levels: 3}}"
    settings = load(f"generator.name={name}", preset=text)
    assert loading.with_fallback(settings, "preset").generator == settings.generator
    assert settings.generator.name == name


def test_backbones_can_be_added_for_the_fallback():
    settings = load(preset=PRESET + "  backbones: {cnn: {name: other}}")
    merged = loading.with_fallback(settings, "preset")
    assert {name: backbone.name for name, backbone in merged.backbones.items()} == {"main": "gone", "cnn": "other"}
    assert merged.backbone == settings.backbone


@pytest.mark.parametrize(
    ("override", "steps", "weight", "schedule"),
    [
        ("steps=7", 7, 3, "cosine"),
        ("steps=2000", 2000, 3, "cosine"),
        ("terms.appearance.weight=5", 1000, 5, "cosine"),
        ("optimiser={lr: 1}", 1000, 3, "constant"),
    ],
)
def test_overrides_win_over_settings_for_the_fallback(override, steps, weight, schedule):
    merged = loading.with_fallback(load(override), "preset")
    assert (merged.steps, merged.terms["appearance"].weight, merged.optimiser.schedule) == (steps, weight, schedule)
    assert "texture" in merged.terms


def test_arguments_win_over_settings_for_the_fallback(tmp_path):
    path = tmp_path / "preset.yaml"
    path.write_text(PRESET)
    assert loading.with_fallback(settings_for(path, steps=9), "preset").steps == 9
    assert loading.with_fallback(settings_for(path, seed=9), "preset").steps == 1000


@pytest.mark.parametrize("arguments", [{"backbone": "tiny-vit"}, {"overrides": ["backbone.name=tiny-vit"]}])
def test_a_named_backbone_has_neither_fallback_nor_settings_for_it(tmp_path, arguments):
    path = tmp_path / "preset.yaml"
    path.write_text(PRESET)
    settings = settings_for(path, **arguments)
    assert settings.backbone.fallback == ()
    assert settings.with_fallback == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  terms: {appearance: {weight: -1}}", "preset with_fallback: terms.appearance.weight: -1 is not allowed"),
        ("  term: {}", "preset with_fallback: term: unknown key"),
        ("  backbone: {name: other}", "with_fallback cannot change backbone"),
        ("  backbones: {main: {name: other}}", "with_fallback.backbones: 'main' is already a backbone"),
        ("  {device: cpu, precision: bfloat16}", "with_fallback cannot change device, precision"),
        ("  precision: bfloat16", "with_fallback cannot change precision"),
        ("  generator: 3", "preset with_fallback: generator: 3 is not allowed"),
        (" 3", "with_fallback: 3 is not allowed"),
    ],
)
def test_mistakes_name_the_key(text, message):
    with pytest.raises(ConfigError) as caught:
        load(preset=f"{PRESET.partition('with_fallback')[0]}with_fallback:\n{text}\n")
    assert message in str(caught.value)


def test_changed_keys_have_at_most_two_parts():
    assert changed_keys(load().with_fallback) == ["terms.appearance", "terms.texture", "optimiser.schedule", "steps"]
