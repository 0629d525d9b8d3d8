"""Settings of a preset, changed by arguments and overrides."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from vitsplice.config import RunConfig
from vitsplice.errors import ConfigError, UserError
from vitsplice.presets import loading, model_folder
from vitsplice.presets.settings import check_given_once, pinned, settings_for

TEXT = """
backbone: {name: dino-vits16, weights: w.pth, side: 32, fallback: [x]}
terms: {a: {loss: structure, weight: 1}}
steps: 5
"""


@pytest.fixture
def preset(tmp_path):
    for name in ("w.pth", "other.pth"):
        (tmp_path / name).write_bytes(name.encode())
    path = tmp_path / "p.yaml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "dino-vits8"},
        {"overrides": ["backbone.name=dino-vits8"]},
        {"overrides": ["backbone={name: dino-vits8, side: 32}"]},
    ],
)
def test_another_backbone_has_no_weights_of_the_previous_one(preset, changes):
    backbone = settings_for(preset, **changes).backbone
    assert backbone.model_dump(exclude_defaults=True) == {"name": "dino-vits8", "side": 32}


@pytest.mark.parametrize("changes", [{"backbone": "dino-vits16"}, {"overrides": ["backbone.name=dino-vits16"]}])
def test_the_same_backbone_by_name_has_its_weights_and_no_fallback(preset, changes):
    backbone = settings_for(preset, **changes).backbone
    assert (backbone.weights, backbone.sha256) == (preset.parent / "w.pth", settings_for(preset).backbone.sha256)
    assert backbone.fallback == ()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("changes", [{"backbone": "gone"}, {"overrides": ["backbone.name=gone"]}])
def test_another_backbone_keeps_of_with_fallback_only_what_overrides_set(changes, reverse):
    overrides = [*changes.get("overrides", []), "backbone.fallback=[tiny-vit]", "with_fallback.steps=7"]
    settings = settings_for("paper", **changes | {"overrides": overrides[::-1] if reverse else overrides})
    assert settings.with_fallback == {"steps": 7}
    assert loading.with_fallback(settings, "paper").steps == 7


def test_mistake_in_the_settings_for_a_fallback_of_another_backbone_is_not_blamed_on_the_preset():
    overrides = ["with_fallback.terms.texture-fine.weight=1"]
    with pytest.raises(ConfigError, match=r"^with_fallback: terms\.texture-fine\.loss: is missing"):
        settings_for("paper", backbone="tiny-vit", overrides=overrides)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("key", "value"), [("weights", "{folder}/other.pth"), ("fallback", "[z]"), ("network_sha256", "a" * 64)]
)
def test_overrides_of_another_backbone_are_used(preset, key, value, reverse):
    override = f"backbone.{key}={value.format(folder=preset.parent)}"
    overrides = ["backbone.name=dino-vits8", override]
    by_override = settings_for(preset, overrides=overrides[::-1] if reverse else overrides)
    by_argument = settings_for(preset, backbone="dino-vits8", overrides=[override])
    assert by_override == by_argument
    expected = {"weights": preset.parent / "other.pth", "fallback": ("z",), "network_sha256": "a" * 64}[key]
    assert getattr(by_override.backbone, key) == expected
    assert by_override.backbone.name == "dino-vits8"


def test_override_of_the_entire_backbone_keeps_its_fallback(preset):
    settings = settings_for(preset, overrides=["backbone={name: dino-vits8, fallback: [z]}"])
    assert settings.backbone.fallback == ("z",)


@pytest.mark.parametrize(
    "override", ["backbones={vit: {name: a}, cnn: {name: b}}", "backbones.vit.name=a", "backbone.name=a"]
)
def test_names_of_the_first_backbone_by_argument_and_override_exclude_each_other(override):
    with pytest.raises(UserError, match="backbone and an override of its name exclude each other"):
        settings_for("quick", backbone="tiny-vit", overrides=[override])


def test_argument_and_override_of_a_nested_setting_exclude_each_other_also_with_spaces_around_the_dot():
    with pytest.raises(UserError, match="batch and the override 'training . batch = 2' exclude each other"):
        check_given_once({"training.batch": "batch"}, ["training . batch = 2"])


def test_empty_name_of_a_preset_is_refused():
    with pytest.raises(UserError, match="preset is empty; give the name of a preset"):
        settings_for("")


@pytest.mark.parametrize(("preset", "key"), [("tiny", "backbone"), ("quick", r"backbones\.vit")])
def test_empty_name_of_a_backbone_is_refused_and_not_blamed_on_the_preset(preset, key):
    with pytest.raises(ConfigError, match=rf"^{key}\.name: '' is not allowed"):
        settings_for(preset, backbone="")


@pytest.mark.parametrize(("overrides", "given"), [([1], "a list with an int"), (5, "an int"), ("steps=1", "a str")])
def test_overrides_other_than_texts_are_refused(overrides, given):
    with pytest.raises(UserError, match=f"overrides must be a list of texts.*not {given}"):
        settings_for("tiny", overrides=overrides)


def test_weights_that_are_a_looping_link_are_refused(preset):
    weights = preset.parent / "w.pth"
    weights.unlink()
    weights.symlink_to(weights)
    with pytest.raises(UserError, match=r"w\.pth"):
        settings_for(preset)


def test_preset_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "p.yaml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ConfigError, match=r"p\.yaml is not UTF-8 text; `vitsplice presets show quick`"):
        settings_for(tmp_path / "p.yaml")


def test_preset_path_with_a_null_byte_is_refused():
    with pytest.raises(ConfigError, match="cannot be read"):
        settings_for("a\0.yaml")


def test_missing_file_of_a_registered_preset_is_named(monkeypatch, tmp_path):
    registered = SimpleNamespace(presets={"gone": SimpleNamespace(path=Path(tmp_path, "gone.yaml"))})
    monkeypatch.setattr("vitsplice.presets.settings.catalogue", lambda: registered)
    with pytest.raises(ConfigError, match=r"gone\.yaml does not exist"):
        settings_for("gone")


@pytest.mark.parametrize("changes", [{"steps": 0}, {"overrides": ["steps=0"]}])
def test_mistake_of_an_argument_is_not_blamed_on_the_preset(changes):
    with pytest.raises(ConfigError, match="^steps: 0 is not allowed unless"):
        settings_for("paper", **changes)


@pytest.mark.parametrize(
    ("text", "arguments", "overrides"),
    [
        (TEXT.replace("steps: 5", ""), {"steps": 3}, []),
        (TEXT + "with_fallback: {steps: 0}", {"steps": 3}, []),
        (TEXT.replace("steps: 5", "start: match\nsteps: 0"), {"steps": 3}, ["start=structure"]),
    ],
    ids=["missing", "in-with_fallback", "with-an-override"],
)
def test_arguments_apply_before_settings_are_validated(preset, text, arguments, overrides):
    preset.write_text(text)
    settings = settings_for(preset, **arguments, overrides=overrides)
    assert (settings.steps, settings.start, settings.with_fallback) == (3, "structure", {})


def test_argument_does_not_change_what_an_override_sets_for_a_fallback():
    settings = settings_for("paper", steps=3, overrides=["with_fallback.steps=7"])
    assert (settings.steps, settings.with_fallback["steps"]) == (3, 7)


FALLBACK = TEXT + "with_fallback: {backbones: {cnn: {name: tiny-cnn, weights: fallback.pth}}}"


def test_settings_are_the_same_with_and_without_the_weights_for_a_fallback(preset):
    preset.write_text(FALLBACK)
    missing = settings_for(preset)
    (preset.parent / "fallback.pth").write_bytes(b"weights")
    assert settings_for(preset) == missing
    assert pinned(missing) == missing


def test_weights_for_a_fallback_are_recorded_with_their_sha256_when_it_is_used(preset):
    preset.write_text(FALLBACK)
    (preset.parent / "fallback.pth").write_bytes((preset.parent / "w.pth").read_bytes())
    used = pinned(loading.with_fallback(settings_for(preset), "preset"))
    assert used.backbones["cnn"].sha256 == used.backbone.sha256


def test_model_for_a_fallback_is_recorded_with_its_digest_when_it_is_used(monkeypatch, tmp_path):
    folder, digest = tmp_path / "model", "a" * 64
    monkeypatch.setattr(model_folder, "read_record", {folder: SimpleNamespace(digest=digest)}.get)
    changes = {"start": "model", "steps": 0, "model": str(folder)}
    data = yaml.safe_load(TEXT.replace("weights: w.pth, ", "")) | {"with_fallback": changes}
    settings = pinned(RunConfig.model_validate(data))
    assert settings.with_fallback["model"] == {"folder": str(folder), "sha256": None}
    used = pinned(loading.with_fallback(settings, "preset")).model
    assert used.model_dump() == {"folder": folder, "sha256": digest}


def test_preset_may_be_a_pipe():
    read, write = os.pipe()
    os.write(write, b"backbone: {name: a}\nterms: {a: {loss: structure, weight: 1}}\nsteps: 5\n")
    os.close(write)
    try:
        assert settings_for(f"/dev/fd/{read}").steps == 5
    finally:
        os.close(read)
