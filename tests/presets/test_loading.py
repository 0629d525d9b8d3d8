import itertools
import os

import pytest
import yaml

from vitsplice.errors import ConfigError, Setting
from vitsplice.plugins import catalogue
from vitsplice.presets import loading

PRESETS = sorted(catalogue().presets)
PAPER = catalogue().presets["paper"].path.read_text()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_round_trips_through_yaml(name):
    settings = loading.load(catalogue().presets[name].path.read_text(), name)
    assert loading.load(settings.to_yaml(), "again") == settings


def test_paper_preset_has_the_values_of_the_paper():
    paper = loading.load(PAPER, "paper")
    assert {n: t.weight for n, t in paper.terms.items() if t.every == 1} == {
        "appearance": 1.0,
        "structure": 0.1,
        "identity": 0.1,
    }
    assert {t.options["form"] for t in paper.terms.values()} == {"norm"}
    assert {t.every for t in paper.terms.values() if t.view == "entire"} == {75}
    assert (paper.steps, paper.optimiser.lr, paper.optimiser.betas) == (2000, 0.002, (0.0, 0.99))
    assert (paper.resize.size, paper.resize.interpolation, paper.backbone.name) == (
        224,
        "bicubic",
        "dino-vitb8",
    )
    structure, appearance = paper.views.structure, paper.views.appearance
    assert structure.crop == appearance.crop == (0.95, 1.0)
    assert (structure.flip, structure.jitter.probability, structure.blur.probability) == (0.5, 0.5, 0.5)
    assert (appearance.flip, appearance.jitter.probability, appearance.blur.probability) == (0.5, 0, 0)


def test_overrides_change_nested_values():
    overrides = [
        "terms.structure.weight=2",
        "steps=7",
        "views.structure.blur.sigma=[0.5, 1]",
        "optimiser.lr=1e-3",
    ]
    changed = loading.load(PAPER, "paper", overrides)
    assert changed.terms["structure"].weight == 2
    assert changed.steps == 7
    assert changed.views.structure.blur.sigma == (0.5, 1)
    assert changed.optimiser.lr == 1e-3
    assert changed.terms["identity"] == loading.load(PAPER, "paper").terms["identity"]


def test_changing_the_generator_drops_the_options_of_the_previous_one():
    assert loading.load(PAPER, "paper", ["generator.name=pixels"]).generator.options == {}
    both = ["generator.options.init=grey", "generator.name=pixels"]
    assert loading.load(PAPER, "paper", both).generator.options == {"init": "grey"}


def test_numbers_in_exponent_notation_are_parsed_everywhere():
    changed = loading.load(PAPER, "paper", ["generator.options.init_gain=2e-3", "generator.options.slope=1E-1"])
    assert changed.generator.options["init_gain"] == 2e-3
    assert changed.generator.options["slope"] == 0.1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=3", "stepz: unknown key; allowed here: .*Did you mean steps"),
        ("terms.structure.wait=3", "terms.structure.wait: unknown key; allowed here: loss, backbone, weight"),
        ("views.structure.jitter.hues=0.1", "hues: unknown key; .*Did you mean hue"),
        ("terms.structure.weight=heavy", "terms.structure.weight: 'heavy' is not allowed"),
        (
            "terms.structure.weight=-1",
            "terms.structure.weight: -1 is not allowed: .*greater than or equal to 0",
        ),
        ("terms.structure.weight=.nan", "terms.structure.weight: nan is not allowed"),
        ("steps=0", "steps: 0 is not allowed"),
        ("steps=1.5", "steps: 1.5 is not allowed"),
        ("precision=float16", "precision: 'float16' is not allowed: .*'float32'"),
        ("views.structure.crop=[0.9, 0.5]", "views.structure.crop: .*the smaller first"),
        ("views.structure.blur.kernel=4", "views.structure.blur.kernel: 4 is not allowed: must be odd"),
        ("optimiser.betas=[0, 1]", "optimiser.betas.1: 1 is not allowed: .*less than 1"),
        ("terms.new.weight=1", "terms.new.loss: is missing; terms.new requires loss and weight. Existing names: app"),
        ("terms.structre.weight=1", "Did you mean terms.structure"),
        ("terms.weight.typo=2", "terms.weight.typo: unknown key"),
        ("terms={step: {loss: structure, weight: 1}}", "'step' cannot be the name of a term; .*neither step nor total"),
        (
            "terms={a$b: {loss: structure, weight: 1}}",
            r"'a\$b' cannot be the name of a term; a name has 1 to 64 letters, digits",
        ),
        ("steps=true", "steps: True is not allowed"),
        (
            "backbone=tiny-vit",
            "it must be a mapping with the keys name, weights, sha256, network_sha256, fallback",
        ),
        ("views.structure.crop=0.9", "views.structure.crop: 0.9 is not allowed; it must be a list"),
        ("terms={}", "no loss terms; use a preset"),
        ("steps.x=3", "'steps' is a single value"),
        ("steps", "write it as dotted.key=value"),
        ("terms.foo.loss=structure", "terms.foo.weight: is missing; terms.foo requires loss and weight"),
        ("stages=[{sides: 112}]", "stages.0.sides: unknown key; .*Did you mean side"),
        ("stages.0.side=3", "stages: .* it must be a list of mappings with the keys side"),
        ("optimiser.betas.1=0.9", "'betas' is a list; give the entire list"),
        ("=3", "write it as dotted.key=value"),
        ("steps=[1", "is not accepted as YAML"),
    ],
)
def test_invalid_setting_is_named_by_its_key(override, message):
    with pytest.raises(ConfigError, match=message):
        loading.load(PAPER, "paper", [override])


@pytest.mark.parametrize(("mistakes", "more"), [(5, "$"), (6, "\nand 1 more mistake$"), (7, "\nand 2 more mistakes$")])
def test_mistakes_beyond_the_fifth_are_counted(mistakes, more):
    overrides = ["steps=-1", "size=-1", "seed=-1", "device=5", "preset=3", "precision=3", "metrics=3"][:mistakes]
    with pytest.raises(ConfigError, match=f"is not allowed: .*{more}"):
        loading.load(PAPER, "paper", overrides)


def test_key_that_an_override_leaves_missing_is_not_blamed_on_the_preset():
    with pytest.raises(ConfigError, match=r"^terms\.new\.loss: is missing"):
        loading.load(PAPER, "paper", ["terms.new.weight=1"])


@pytest.mark.parametrize("text", ["- a\n", "just words", "", "a: [", "!!python/object/apply:os.getcwd []"])
def test_text_other_than_a_yaml_mapping_is_refused(text):
    with pytest.raises(ConfigError):
        loading.load(text, "file.yaml")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        loading.load(PAPER, "paper").steps = 3


@pytest.mark.parametrize("name", ["missing.yaml", "folder.yaml", "binary.yaml"])
def test_unreadable_preset_file_is_named(tmp_path, name):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=name):
        loading.read_text(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 2]\nb: [*a, *a, *a]",
        "!!python/object/apply:os.system ['true']",
        "[" * 100_000,
        "steps: 2026-13-45",
        "\x00",
    ],
    ids=["aliases", "code", "nested", "invalid-date", "NUL"],
)
def test_hostile_yaml_is_refused(text):
    with pytest.raises(ConfigError):
        loading.load(text, "hostile")


def test_preset_file_that_is_too_long_is_refused(tmp_path):
    (tmp_path / "long.yaml").write_text("#" * 2_000_000)
    with pytest.raises(ConfigError, match="longer than"):
        loading.load(loading.read_text(tmp_path / "long.yaml"), "long.yaml")


@pytest.mark.slow
def test_weights_of_a_preset_file_are_in_its_folder_or_have_a_sha256(tmp_path):
    def load(weights, *overrides, sha256=None):
        digest = "" if sha256 is None else f"\n  sha256: {sha256}"
        text = PAPER.replace("backbone:", f"backbone:\n  weights: {weights}{digest}", 1)
        return loading.load(text, "preset", overrides, tmp_path).backbone.weights

    assert load("own.safetensors") == tmp_path / "own.safetensors"
    assert load("sub/../own.safetensors") == tmp_path / "own.safetensors"
    for outside in ("../other.safetensors", "/etc/passwd", "sub/../../other.safetensors"):
        with pytest.raises(ConfigError, match=r"only name files in its own folder.*pass backbone.weights=") as error:
            load(outside)
        assert error.value.parts[-1] == Setting("backbone.weights", os.path.realpath(tmp_path / outside))
    (tmp_path / "link.safetensors").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="own folder"):
        load("link.safetensors")
    assert str(load("own.safetensors", "backbone.weights=/elsewhere/w.pt")) == "/elsewhere/w.pt"
    assert str(load("/elsewhere/w.pt", sha256=f"'{'0' * 64}'")) == "/elsewhere/w.pt"
    for no_digest in ("''", "abc", "5", "null", "[]"):
        with pytest.raises(ConfigError, match=r"own folder|sha256"):
            load("/elsewhere/w.pt", sha256=no_digest)


def test_weights_in_with_fallback_must_be_in_the_folder_of_the_preset_too(tmp_path):
    def load(weights):
        changes = {"backbones": {"cnn": {"name": "tiny-cnn", "weights": weights}}}
        text = yaml.safe_dump(yaml.safe_load(PAPER) | {"with_fallback": changes})
        return loading.load(text, "preset", folder=tmp_path).with_fallback["backbones"]["cnn"]["weights"]

    assert load("own.safetensors") == str(tmp_path / "own.safetensors")
    with pytest.raises(ConfigError, match=r": with_fallback\.backbones\.cnn\.weights: '/etc/passwd' is not allowed"):
        load("/etc/passwd")


def test_model_in_with_fallback_does_not_inherit_the_sha256_of_the_model_that_it_replaces(tmp_path):
    def load(changed):
        data = yaml.safe_load(catalogue().presets["tiny"].path.read_text())
        model = {"folder": "/elsewhere", "sha256": "0" * 64}
        data |= {"start": "model", "model": model, "with_fallback": {"model": changed}}
        return loading.with_fallback(loading.load(yaml.safe_dump(data), "preset", folder=tmp_path), "preset")

    for changed in ("own", {"folder": "own"}):
        assert (load(changed).model.folder, load(changed).model.sha256) == (tmp_path / "own", None)
    with pytest.raises(ConfigError, match="folder"):
        load({"sha256": None})


def test_weights_of_an_override_are_recorded_as_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert loading.load(PAPER, "paper", ["backbone.weights=w.pt"]).backbone.weights == tmp_path / "w.pt"


def test_sha256_is_dropped_if_an_override_replaces_the_weights_and_refused_without_weights():
    text = PAPER.replace("backbone:", f"backbone:\n  weights: /a/w.pt\n  sha256: '{'0' * 64}'", 1)
    assert loading.load(text, "paper").backbone.sha256 == "0" * 64
    assert loading.load(text, "paper", ["backbone.weights=w.pt"]).backbone.sha256 is None
    with pytest.raises(ConfigError, match="sha256 is the digest of a weights file"):
        loading.load(text, "paper", ["backbone.weights=null", f"backbone.sha256='{'0' * 64}'"])


def test_paths_of_overrides_in_with_fallback_are_recorded_as_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["with_fallback.backbones.cnn={name: tiny-cnn, weights: w.pt}"]
    changes = loading.load(PAPER, "paper", overrides).with_fallback
    assert changes["backbones"]["cnn"]["weights"] == str(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("backbones.cnn.weights=/b", {"name": "tiny-cnn", "weights": "/b", "fallback": ["x"]}),
        ("backbones.cnn.name=other", {"name": "other"}),
        ("backbones.cnn.name=tiny-cnn", {"name": "tiny-cnn", "weights": "/a", "sha256": "0" * 64}),  # no fallback
        ("model.folder=/b", {"folder": "/b", "sha256": None}),
        ("generator.name=pixels", {"name": "pixels"}),
    ],
)
def test_overrides_in_with_fallback_remove_settings_that_no_longer_apply(override, changed):
    data = yaml.safe_load(PAPER) | {
        "with_fallback": {
            "backbones": {"cnn": {"name": "tiny-cnn", "weights": "/a", "sha256": "0" * 64, "fallback": ["x"]}},
            "start": "model",
            "model": {"folder": "/a", "sha256": "0" * 64},
            "generator": {"name": "unet", "options": {"slope": 0.1}},
        }
    }
    changes = loading.load(yaml.safe_dump(data), "preset", [f"with_fallback.{override}"]).with_fallback
    key = override.partition(".")[0]
    assert (changes[key]["cnn"] if key == "backbones" else changes[key]) == changed


@pytest.mark.parametrize("override", ["with_fallback.model.folder=/b", "with_fallback.model={folder: /b}"])
def test_override_of_the_model_in_with_fallback_removes_the_sha256_of_the_replaced_model(override):
    data = yaml.safe_load(PAPER) | {"start": "model", "model": {"folder": "/a", "sha256": "0" * 64}}
    settings = loading.load(yaml.safe_dump(data), "preset", [override])
    model = loading.with_fallback(settings, "preset").model
    assert (str(model.folder), model.sha256) == ("/b", None)


def test_mistake_of_an_override_in_with_fallback_is_not_blamed_on_the_preset():
    with pytest.raises(ConfigError, match=r"^with_fallback: terms\.structure\.weight: 'x' is not allowed"):
        loading.load(PAPER, "paper", ["with_fallback.terms.structure.weight=x"])


def test_temperature_so_low_that_float32_overflows_is_refused():
    with pytest.raises(ConfigError, match=r"match.temperature: 1e-300 is not allowed.*0.0001"):
        loading.load(PAPER, "paper", ["match.temperature=1e-300"])


def test_paper_and_official_have_the_same_with_fallback_but_for_a_term_that_official_lacks():
    paper, official = (
        loading.load(catalogue().presets[name].path.read_text(), name).with_fallback for name in ("paper", "official")
    )
    paper["terms"] = {name: term for name, term in paper["terms"].items() if name != "identity-entire"}
    assert paper == official


@pytest.mark.parametrize("name", ["paper", "official"])
def test_presets_of_splice_use_neither_warm_start_nor_correspondence_with_their_fallback(name):
    settings = loading.load(catalogue().presets[name].path.read_text(), name)
    merged = loading.with_fallback(settings, name)
    assert merged.start == "structure"
    assert merged.generator == settings.generator
    assert merged.steps <= 1000
    options = [term.options for term in merged.terms.values() if term.loss in ("texture", "statistics")]
    assert len(options) == 3
    assert all(each.get("guide", 0) == 0 and each["uniform"] == 1 for each in options)


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["generator={name: pyramid, options: {levels: 2}}", "generator.name=pixels"], ("pixels", "dino-vitb8")),
        (["generator.name=pixels", "backbone={name: a}", "backbone.name=b"], ("pixels", "b")),
        (["generator.name=pixels", "backbone.name=b", "backbone={name: a}"], ("pixels", "a")),
    ],
)
def test_last_override_is_used_if_one_sets_a_name_and_another_the_mapping_that_contains_it(overrides, names):
    settings = loading.load(PAPER, "paper", overrides)
    assert (settings.generator.name, settings.backbone.name) == names
    assert settings.generator.options == {}


def test_sha256_that_an_override_sets_is_kept_in_any_order_of_overrides():
    digest = "a" * 64
    for part in ("backbone.weights=/a/w.pt", "model.folder=/a/model"):
        overrides = [part, f"{part.split('.')[0]}.sha256={digest}"]
        for order in (overrides, overrides[::-1]):
            loaded = loading.load(PAPER, "paper", [*order, *(["start=model"] if "model" in part else [])])
            assert (loaded.model or loaded.backbone).sha256 == digest


@pytest.mark.parametrize(
    "overrides",
    [
        ["with_fallback.backbones.cnn.sha256=" + "a" * 64, "with_fallback.backbones.cnn={name: y, weights: /x}"],
        ["with_fallback.backbones.cnn.name=y", "with_fallback.backbones.cnn.fallback=[x]"],
        [
            "with_fallback.backbones.cnn.name=y",
            "with_fallback.backbones.cnn.weights=/x",
            "with_fallback.backbones.cnn.sha256=" + "a" * 64,
        ],
        ["with_fallback.generator.name=pixels", "with_fallback.generator.options.init=grey"],
        ["with_fallback={steps: 3}", "with_fallback.generator.name=pixels"],
        ["steps=3", "with_fallback.steps=7"],
        ["generator={name: pixels}", "generator.options.init=grey", "with_fallback={}"],
    ],
)
def test_no_override_is_lost_in_any_order(overrides):
    loaded = [loading.load(PAPER, "paper", order) for order in itertools.permutations(overrides)]
    assert all(settings == loaded[0] for settings in loaded)
    for override in overrides:
        key, _, value = override.partition("=")
        node = loaded[0].model_dump()
        for part in key.split("."):
            node = node[part]
        expected = yaml.safe_load(value)
        assert node == expected or (isinstance(node, dict) and set(expected) <= set(node))


@pytest.mark.parametrize("model", ["'own'", "{folder: own}"])
def test_overrides_set_the_sha256_of_a_model_that_is_given_by_its_folder_alone(model):
    text = f"{PAPER}\nmodel: {model}\nstart: model\n"
    overrides = [f"model.sha256={'a' * 64}", "with_fallback.model=/b", f"with_fallback.model.sha256={'b' * 64}"]
    settings = loading.load(text, "paper", overrides)
    assert (settings.model.folder.name, settings.model.sha256) == ("own", "a" * 64)
    assert settings.with_fallback["model"] == {"folder": "/b", "sha256": "b" * 64}


def test_override_of_a_key_of_a_setting_that_is_null_makes_it_a_mapping():
    text = "backbone: {name: a}\nsteps: 0\nmodel: null\n"
    settings = loading.load(text, "preset", ["start=model", "model.folder=/models/x"])
    assert str(settings.model.folder) == "/models/x"
