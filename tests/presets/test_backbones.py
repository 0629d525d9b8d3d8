"""Settings of one backbone and of several."""

import pytest
import yaml

from vitsplice.config import RunConfig
from vitsplice.errors import ConfigError, UserError
from vitsplice.presets import loading
from vitsplice.presets.settings import settings_for

REST = "generator: {name: unet}\nsteps: 5\n"
WITHOUT_BACKBONES = REST + "terms: {a: {loss: structure, weight: 1}, b: {loss: texture, weight: 1, backbone: cnn}}\n"
SEVERAL = (
    "backbones: {vit: {name: tiny-vit, side: 32, fallback: [x]}, cnn: {name: tiny-cnn, fallback: [y]}}\n"
    + WITHOUT_BACKBONES
)
ONE = "backbone: {name: tiny-vit, side: view}\nterms: {a: {loss: structure, weight: 1}}\n" + REST


def load(text, *overrides):
    return loading.load(text, "preset", overrides)


def several(tmp_path, **settings):
    path = tmp_path / "several.yaml"
    path.write_text(SEVERAL)
    return settings_for(path, **settings)


@pytest.mark.parametrize(("text", "key"), [(ONE, "backbone"), (SEVERAL, "backbones")])
def test_settings_are_written_as_they_are_read(text, key):
    settings = load(text)
    written = yaml.safe_load(settings.to_yaml())
    assert {"backbone", "backbones"} & set(written) == {key}
    assert load(settings.to_yaml()) == settings
    assert RunConfig.model_validate_json(settings.model_dump_json()) == settings


def test_terms_that_name_no_backbone_use_the_first():
    settings = load(SEVERAL)
    assert settings.backbone == settings.backbones["vit"]
    assert [settings.backbone_key_of(term) for term in settings.terms.values()] == ["vit", "cnn"]


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (ONE + "backbones: {vit: {name: tiny-vit}}", (), "give either backbone or backbones, not both"),
        (ONE, ["terms.a.backbone=cnn"], r"terms\.a\.backbone: 'cnn' is not one of the backbones"),
        (SEVERAL, ["match.further_backbones=[b]"], r"match\.further_backbones: 'b' is not .*; allowed: cnn$"),
        (SEVERAL, ["match.further_backbones=[vit]"], r"'vit' is not a backbone after the first; allowed: cnn"),
        (ONE, ["match.further_backbones=[cnn]"], "there is only one backbone"),
        (SEVERAL, ["match.further_backbones=[cnn, cnn]"], "a backbone is given twice: cnn, cnn"),
        (SEVERAL, ["stages=[{side: 32, terms: [a, c]}]"], r"stages\.0\.terms: 'c' is not one of the terms: a, b"),
        (
            ONE,
            ["start=match", "steps=0", "terms={}", "stages=[{side: 32, terms: [a]}]"],
            "'a' is not one of the terms: there are none$",
        ),
        (ONE, ["backbone.name=3"], r"^backbone\.name: 3 is not allowed"),
        (ONE, ["backbone.side=3"], r"^backbone\.side"),
        (
            SEVERAL,
            ["backbones.cnn.side=tiny"],
            r"^backbones\.cnn\.side: 'tiny' .* an integer from 16 to 4096, or view$",
        ),
        (ONE, ["backbone.nam=x"], r"^backbone\.nam: unknown key; .*Did you mean name"),
        (ONE.partition("\n")[2], (), r"preset: backbone: is missing"),
        (SEVERAL, ["backbone.nam=x"], r"^backbones\.vit\.nam: unknown key"),
        (SEVERAL, ["backbones.main.side=32"], r"^backbones\.main\.name: is missing; .*Existing names: vit, cnn"),
        (SEVERAL, ["backbones.third.side=32"], r"backbones\.third\.name: is missing"),
        (SEVERAL, ["backbones.a b={name: tiny-vit}"], r"'a b' cannot be the key of a backbone; a key has 1 to 64"),
        (SEVERAL, ["terms.c.loss=structure"], r"terms\.c\.weight: is missing"),
        (WITHOUT_BACKBONES + "backbones: {}", (), "preset: backbones: "),
    ],
)
def test_mistake_is_named_by_the_key_as_it_is_written(text, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load(text, *overrides)


def test_further_backbones_are_written_only_if_there_are_any():
    alone, joined = load(SEVERAL), load(SEVERAL, "match.further_backbones=[cnn]")
    assert "further_backbones" not in alone.to_yaml()
    assert yaml.safe_load(joined.to_yaml())["match"]["further_backbones"] == ["cnn"]
    assert [load(settings.to_yaml()) for settings in (alone, joined)] == [alone, joined]


def test_run_that_starts_from_a_model_matches_by_the_first_backbone_alone():
    settings = load(SEVERAL, "match.further_backbones=[cnn]")
    assert settings.matching_backbones == ("vit", "cnn")
    assert settings.model_copy(update={"start": "model"}).matching_backbones == ("vit",)


def test_overrides_of_backbone_change_the_first_of_several():
    settings = load(SEVERAL, "backbone.side=48", "backbone.name=other", "backbones.cnn.precision=float32")
    assert list(settings.backbones) == ["vit", "cnn"]
    assert (settings.backbones["vit"].name, settings.backbones["vit"].side) == ("other", 48)
    assert (settings.backbones["cnn"].name, settings.backbones["cnn"].precision) == ("tiny-cnn", "float32")


def test_another_backbone_has_no_fallback_of_the_previous_one():
    settings = load(SEVERAL, "backbones.cnn.name=other")
    assert settings.backbones["cnn"].fallback == ()
    assert settings.backbones["vit"].fallback == ("x",)
    assert load(SEVERAL, "backbones.cnn.fallback=[z]", "backbones.cnn.name=other").backbones["cnn"].fallback == ("z",)


def test_argument_backbone_replaces_the_first_and_keeps_the_size_of_its_views(tmp_path):
    settings, plain = several(tmp_path, backbone="tiny-cnn"), several(tmp_path)
    assert (settings.backbone.name, settings.backbone.side, settings.backbone.fallback) == ("tiny-cnn", 32, ())
    assert settings.backbones["cnn"] == plain.backbones["cnn"]


def test_of_a_loaded_backbone_only_side_and_precision_can_be_overridden(tmp_path, vit):
    overrides = ["backbone.side=40", "backbones.cnn.name=other", "backbones.vit.precision=float32"]
    settings = several(tmp_path, backbone=vit, overrides=overrides)
    assert (settings.backbone.side, settings.backbones["cnn"].name) == (40, "other")
    for override in ("backbone={name: x}", "backbone.name=x", "backbones.vit.weights=w"):
        with pytest.raises(UserError, match="override .* is not allowed: only side and precision of a loaded"):
            several(tmp_path, backbone=vit, overrides=[override])


def test_override_adds_a_backbone_to_a_single_one():
    settings = load(ONE, "backbones.cnn.name=tiny-cnn", "backbone.side=32")
    assert {key: (backbone.name, backbone.side) for key, backbone in settings.backbones.items()} == {
        "main": ("tiny-vit", 32),
        "cnn": ("tiny-cnn", None),
    }


def test_override_of_all_backbones_replaces_a_single_one():
    assert list(load(ONE, "backbones={vit: {name: a}, cnn: {name: b}}").backbones) == ["vit", "cnn"]


def test_overridden_backbone_is_removed_from_with_fallback():
    text = ONE + "with_fallback: {backbones: {cnn: {name: other, fallback: [x]}}}"
    assert load(text, "backbones.cnn.name=tiny-cnn").with_fallback == {"backbones": {}}
