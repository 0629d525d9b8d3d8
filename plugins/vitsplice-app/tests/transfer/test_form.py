"""Settings of a run from the values of the form."""

import math

import pytest
import yaml
from vitsplice_app.transfer.form import AS_IN_PRESET, Sliders, form_settings, preset_yaml, read_yaml

from vitsplice.errors import ConfigError, UnknownName, UserError
from vitsplice.presets.settings import settings_for


def settings_of(folder, preset, text=None, **values):
    """The settings of the form when a preset is chosen and its YAML is edited, with other values changed."""
    sliders = vars(Sliders.of(settings_for(preset) if text is None else read_yaml(preset, text, None)))
    del sliders["max_steps"]
    form = {"yaml": text or preset_yaml(preset), "backbone": AS_IN_PRESET} | sliders | values
    return form_settings(folder, preset, **form)


@pytest.mark.parametrize("preset", ["instant", "quick", "official", "tiny"])
def test_unchanged_form_gives_the_settings_of_the_preset(preset, tmp_path):
    assert settings_of(tmp_path, preset) == settings_for(preset)


@pytest.mark.parametrize("preset", ["quick", "official"])
def test_changed_values_give_the_settings_of_the_same_arguments(preset, tmp_path):
    values = {"steps": 7, "size": 64, "seed": 3, "structure_strength": 2, "backbone": "dino-vitb8"}
    assert settings_of(tmp_path, preset, **values) == settings_for(preset, **values)


def test_cleared_number_fields_are_as_in_the_preset(tmp_path):
    cleared = dict.fromkeys(("steps", "size", "seed", "structure_strength", "appearance_strength"))
    assert settings_of(tmp_path, "quick", **cleared) == settings_for("quick")


@pytest.mark.parametrize(("name", "value"), [("steps", 7.5), ("size", math.inf), ("seed", math.nan)])
def test_number_that_is_not_whole_is_refused_by_its_field(name, value, tmp_path):
    with pytest.raises(UserError, match=f"field {name.capitalize()} has the value {value}; give a whole number"):
        settings_of(tmp_path, "tiny", **{name: value})


def test_seed_that_the_browser_rounds_is_that_of_the_yaml(tmp_path):
    seed = 2**53 + 1
    text = preset_yaml("tiny") + f"\nseed: {seed}\n"
    assert settings_of(tmp_path, "tiny", text, seed=int(float(seed))).seed == seed
    assert settings_of(tmp_path, "tiny", text, seed=7).seed == 7


def test_size_of_a_preset_can_be_removed(tmp_path):
    assert settings_of(tmp_path, "tiny", size=0) == settings_for("tiny", overrides=["size=null"])


def test_edited_yaml_is_the_preset_with_overrides(tmp_path):
    text = preset_yaml("quick").replace("steps: 160", "steps: 20").replace("grid: 40", "grid: 20")
    overrides = ["steps=20", "match.grid=20"]
    assert settings_of(tmp_path, "quick", text) == settings_for("quick", overrides=overrides)
    assert settings_of(tmp_path, "quick", text, steps=30).steps == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [", "YAML is not valid"),
        ("backbone: {name: tiny-vit}\nsteps: x\nstart: match\n", "YAML: steps: 'x' is not allowed"),
        ("#" * 1_000_001, "longer than"),
        (
            "backbone: {name: tiny-vit, weights: /etc/passwd}\nstart: match\nsteps: 0\n",
            "may only name files in its own folder; to use",
        ),
        (
            "backbone: {name: tiny-vit}\nmodel: /etc\nstart: model\nsteps: 0\n",
            "may only name files in its own folder; to use",
        ),
        (
            f"backbone: {{name: tiny-vit, weights: /etc/passwd, sha256: '{'0' * 64}'}}\nstart: match\nsteps: 0\n",
            "may only name files in its own folder; to use",
        ),
        (
            "backbone: {name: tiny-vit}\nterms: {a: {loss: structure, weight: 1, options: {x: 1}}}\nsteps: 1\n",
            "options",
        ),
    ],
)
def test_errors_of_the_yaml_are_those_of_the_command_line(text, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        read_yaml("quick", text, tmp_path / "weights")


def test_unknown_loss_term_is_an_error(tmp_path):
    text = preset_yaml("tiny").replace("loss: appearance", "loss: apearance")
    with pytest.raises(UnknownName, match="apearance"):
        read_yaml("tiny", text, tmp_path)


def test_yaml_cannot_name_another_preset(tmp_path):
    text = yaml.safe_dump(yaml.safe_load(preset_yaml("tiny")) | {"preset": "/etc/passwd"})
    assert read_yaml("tiny", text, tmp_path).preset == "tiny"


@pytest.mark.parametrize(("preset", "maximum"), [("quick", 640), ("instant", 0), ("tiny", 100)])
def test_maximum_number_of_steps_depends_on_the_preset(preset, maximum):
    assert Sliders.of(settings_for(preset)).max_steps == maximum
