from dataclasses import replace

import pytest

from tests.conftest import components
from vitsplice.config import BackboneConfig, StageConfig
from vitsplice.engine.backbones import load_configured
from vitsplice.engine.images import RunImages
from vitsplice.engine.problem import Components, check_run, check_stages
from vitsplice.engine.stack import AppearanceImage, stack
from vitsplice.engine.stages import StagedOptimisation
from vitsplice.errors import ConfigError, PartRejected, UnknownName, WeightsUnavailable
from vitsplice.plugins import catalogue
from vitsplice.presets.loading import load
from vitsplice.presets.settings import settings_for

TINY = catalogue().presets["tiny"].path.read_text()
WHOLE_RUN = [(None, range(5))]


def build(vit, pair, *overrides):
    structure, appearance = pair
    images = RunImages({"structure": structure, "appearance": appearance})
    return StagedOptimisation(components(load(TINY, "tiny", overrides), vit), images)


def test_fallback_is_loaded_and_recorded():
    config = BackboneConfig(name="tiny-gone", fallback=("not-installed", "tiny-vit"))
    backbone, substitution = load_configured(config, catalogue())
    assert backbone.info.name == "tiny-vit"
    assert (substitution.requested, substitution.used) == ("tiny-gone", "tiny-vit")
    assert "'tiny-gone' are unavailable" in substitution.reason


def test_unavailable_backbone_without_a_fallback_raises_with_the_reason():
    with pytest.raises(WeightsUnavailable, match="'tiny-gone' are unavailable"):
        load_configured(BackboneConfig(name="tiny-gone"), catalogue())


def test_unavailable_fallbacks_are_named():
    with pytest.raises(
        WeightsUnavailable,
        match=r"'tiny-gone' are unavailable\nIts fallback 'not-installed' is unavailable too: no backbone",
    ):
        load_configured(BackboneConfig(name="tiny-gone", fallback=("not-installed",)), catalogue())


def test_available_backbone_has_no_substitution():
    assert load_configured(BackboneConfig(name="tiny-cnn"), catalogue())[1] is None


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("terms.structure.loss=strukture", UnknownName, "structure"),
        ("generator.name=unett", UnknownName, "unet"),
        ("terms.structure.facet=map", ConfigError, "terms.structure: .*no facet 'map'"),
        ("terms.structure.layer=12", ConfigError, "terms.structure: .*no layer 12"),
        (
            "terms.structure.options.form=cubic",
            ConfigError,
            "terms.structure.options.form: 'cubic'.*norm, mse",
        ),
        ("terms={a: {loss: structure, weight: 0}}", ConfigError, "no term is active"),
        ("terms={a: {loss: structure, weight: 1, start: 99}}", ConfigError, "no term is active within 5 steps"),
        (
            "terms={a: {loss: structure, weight: 1, start: 4, every: 3}}",
            ConfigError,
            "no term is active within 5 steps",
        ),
        ("terms.structure.facet=cls", ConfigError, "terms.structure: the structure term compares patches"),
        ("views.structure.blur.kernel=101", ConfigError, "blur.kernel: 101 is too large for views of 38 px"),
        ("generator={name: pixels}", ConfigError, r"disable that term with terms.identity.weight=0"),
        (
            "generator.options.slope=-1",
            ConfigError,
            "generator.options.slope: -1 is too small; the minimum is 0",
        ),
    ],
)
def test_invalid_setting_is_named_by_its_key(vit, pair, override, error, message):
    with pytest.raises(error, match=message):
        build(vit, pair, override)


def build_with(vit, kind, name, function):
    """Build the components of a run whose part of this kind and name has another build function."""
    registry = getattr(catalogue(), kind)
    specs = {**registry.specs, name: replace(registry[name], build=function)}
    known = replace(catalogue(), **{kind: replace(registry, specs=specs)})
    config = load(TINY, "tiny")
    return Components.build(config, dict.fromkeys(config.backbones, vit), known)


def raising(error):
    def fail(*arguments):
        raise error

    return fail


def test_failed_build_of_a_loss_term_names_the_term(vit):
    with pytest.raises(PartRejected, match="^term 'structure': building loss term 'structure' .* failed: .*: x$"):
        build_with(vit, "losses", "structure", raising(ValueError("x")))


def test_failed_build_of_a_generator_names_it(vit, pair):
    name = load(TINY, "tiny").generator.name
    parts = build_with(vit, "generators", name, raising(ValueError("x")))
    with pytest.raises(PartRejected, match=f"^building generator '{name}' .* failed: .*: x$"):
        parts.build_generator(pair[0])


def test_conditional_generator_is_refused_with_the_command_that_trains_it():
    settings = load(TINY, "tiny", ["generator.name=splicenet"])
    with pytest.raises(ConfigError, match="generator.name: 'splicenet' is trained on many pairs by `vitsplice train`"):
        check_run(settings, catalogue())


def test_options_of_terms_of_weight_0_are_checked(vit, pair):
    step = next(build(vit, pair, "terms.identity.weight=0").steps())
    assert "identity" not in step.losses
    with pytest.raises(ConfigError, match="terms.identity.options"):
        build(vit, pair, "terms.identity.weight=0", "terms.identity.options.form=cubic")


def test_terms_of_the_official_preset_are_those_of_the_released_splice_code():
    official = load(catalogue().presets["official"].path.read_text(), "official")
    assert {n: (t.weight, t.start, t.every) for n, t in official.terms.items()} == {
        "appearance": (10, 0, 1),
        "structure": (1, 1, 1),
        "identity": (1, 1, 1),
        "structure-entire": (1, 0, 75),
        "appearance-entire": (10, 0, 75),
    }
    entire = official.terms["appearance-entire"]
    assert (entire.view, entire.target_view) == ("entire", "crop")


STRUCTURE_TERM = "terms={it: {loss: feature, weight: 1}}"  # it compares with the structure image


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([STRUCTURE_TERM, "appearance_strength=2"], "appearance_strength would have no effect.*the appearance image"),
        (["terms={it: {loss: appearance, weight: 1}}", "structure_strength=2"], "structure_strength would have no"),
        (
            [
                "steps=2",
                "terms={it: {loss: appearance, weight: 1}, late: {loss: structure, weight: 1, start: 2}}",
                "structure_strength=2",
            ],
            "structure_strength would have no",
        ),
    ],
)
def test_strength_that_affects_no_term_is_refused(vit, pair, overrides, message):
    images = RunImages({"structure": pair[0], "appearance": pair[1]})
    with pytest.raises(ConfigError, match=message):
        check_stages(components(load(TINY, "tiny", overrides), vit), images, WHOLE_RUN)
    check_stages(components(load(TINY, "tiny", overrides[:1]), vit), images, WHOLE_RUN)


@pytest.mark.parametrize(
    ("term", "strength"), [("appearance", "structure_strength=2"), ("structure", "appearance_strength=2")]
)
def test_strength_that_affects_neither_term_nor_warm_start_is_refused(term, strength, vit, pair):
    images = RunImages({"structure": pair[0], "appearance": pair[1]})
    overrides = [f"terms={{it: {{loss: {term}, weight: 1}}}}", "start=match", "match.grid=4"]
    with pytest.raises(ConfigError, match=f"{strength[:-2]} would have no effect: no term of these settings compares"):
        check_stages(components(load(TINY, "tiny", [*overrides, strength]), vit), images, WHOLE_RUN)
    weaker = [*overrides, "appearance_strength=0.5"]  # it weakens the warm start
    check_stages(components(load(TINY, "tiny", weaker), vit), images, WHOLE_RUN)
    build(vit, pair, *overrides, strength, "steps=0")  # without steps, the warm start uses both strengths


def test_appearance_mask_that_affects_no_term_is_refused(vit, pair):
    images = RunImages({"structure": pair[0], "appearance": pair[1]}, {"appearance": pair[1][:, :1]})
    with pytest.raises(ConfigError, match="appearance_mask would have no effect"):
        check_stages(components(load(TINY, "tiny", [STRUCTURE_TERM]), vit), images, WHOLE_RUN)
    check_stages(components(load(TINY, "tiny"), vit), images, WHOLE_RUN)


def test_padding_of_appearance_images_of_different_shapes_is_no_mask(vit, pair):
    structure, appearance = pair
    stacked = stack([AppearanceImage(appearance), AppearanceImage(appearance[..., :24])])
    images = RunImages(
        {"structure": structure, "appearance": stacked.pixels}, {"appearance": stacked.mask}, stacked.images
    )
    check_stages(components(load(TINY, "tiny", [STRUCTURE_TERM]), vit), images, WHOLE_RUN)


def test_stage_on_tiles_refuses_a_term_whose_input_is_the_appearance_image(vit, pair):
    images = RunImages({"structure": pair[0], "appearance": pair[1]})
    terms = "terms={a: {loss: structure, weight: 1}, b: {loss: identity, weight: 1}}"
    parts = components(load(TINY, "tiny", [terms]), vit)
    with pytest.raises(ConfigError, match="'b' takes the appearance image as input"):
        check_stages(parts, images, [(StageConfig(side=64), range(3)), (StageConfig(side=64, tile=64), range(3, 5))])
    tiled = StageConfig(side=64, tile=64, terms=("a",))
    check_stages(parts, images, [(StageConfig(side=64), range(3)), (tiled, range(3, 5))])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stages=[{side: 40}, {side: 48, terms: []}]"], "the stage of steps 2 to 4"),
        (
            ["stages=[{side: 40}, {side: 48, terms: [appearance]}]", "appearance_strength=0"],
            "the stage of steps 2 to 4 has no term with a weight",
        ),
        (
            ["terms.late={loss: structure, weight: 1, start: 4}", "stages=[{side: 32, terms: [late]}, {side: 48}]"],
            "the stage of steps 0 to 1",
        ),
        (
            ["terms={rare: {loss: structure, weight: 1, every: 9}}", "stages=[{side: 32}, {side: 48}]"],
            "the stage of steps 2 to 4 .* is active at one of these steps",
        ),
        (
            ["views.appearance.blur={probability: 1, kernel: 35}", "stages=[{side: 44}, {side: 16}]"],
            "views.appearance.blur.kernel: 35",
        ),
        (["views.appearance={crop: [0.01, 1], blur: {probability: 1, kernel: 3}}"], "views of 1 px; at most 1 is"),
    ],
)
def test_stage_that_cannot_be_optimised_is_refused_before_the_first_step(vit, pair, overrides, message):
    with pytest.raises(ConfigError, match=message):
        build(vit, pair, *overrides)


@pytest.mark.slow
def test_strength_of_a_term_of_a_stage_that_is_left_out_is_accepted(vit, pair):
    terms = "terms={it: {loss: feature, weight: 1}, a: {loss: appearance, weight: 1}}"
    stages = "stages=[{side: 40, terms: [it]}, {side: 2048, tile: 64, terms: [a]}]"
    assert len(list(build(vit, pair, terms, "appearance_strength=2", stages).steps())) == 5


def test_strength_of_a_term_that_no_stage_has_is_refused(vit, pair):
    terms = "terms={it: {loss: feature, weight: 1}, a: {loss: appearance, weight: 1}}"
    with pytest.raises(ConfigError, match="appearance_strength would have no effect"):
        build(vit, pair, terms, "appearance_strength=2", "stages=[{side: 40, terms: [it]}]")


def test_settings_for_many_pairs_are_refused_for_one():
    settings = settings_for("tiny", overrides=["training={}"])
    with pytest.raises(ConfigError, match="tiny has the setting training and is not for one pair.*`vitsplice train`"):
        check_run(settings, catalogue())


def test_strengths_of_zero_leave_no_term(vit, pair):
    with pytest.raises(ConfigError, match="no term is active"):
        build(vit, pair, "structure_strength=0", "appearance_strength=0")
