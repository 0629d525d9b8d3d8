"""Invalid settings: exit code 2 and a message on one screen, never an internal error."""

import random

import pytest

from tests.cli.test_run import TINY, one_error

INVALID = (
    "generator={options: 5}",
    "generator.options=5",
    "generator.options={skip_channels: [1]}",
    "stages=[5]",
    "stages=[{foo: 1}]",
    "stages=[{sides: 112, share: 1.0}]",
    "stages=5",
    "stages={a: 1}",
    "stages.0.side=64",
    "stages=[{side: 64, share: 1e308}, {side: 64, share: 1e308}]",
    "stages=[{side: 16, share: 1e-300}, {side: 64}]",
    "seed=2001-99-99",
    "seed=2001-01-01",
    f"seed={'9' * 5000}",
    f"seed=0x{'f' * 5000}",
    f"generator.options.slope={'9' * 300}",
    f"x={'[' * 3000}",
    f"terms{'.a' * 3000}=1",
    'backbone.weights="a\\0b"',
    'backbone.weights="\\ud800"',
    'device="cpu\\0"',
    "steps={steps: 1, steps: 2}",
    "terms={structure: {loss: structure, weight: 1, weight: 2}}",
    "terms={1: {loss: structure, weight: 1}}",
    "terms=[1]",
    "terms={a: 5}",
    f"terms={{{'a' * 300}: {{loss: structure, weight: 1}}}}",
    f"terms.structure.loss={'x' * 300}",
    "terms.structure.weight=1e308",
    "terms.structure.start=999999999999999999999",
    f"generator.name={'x' * 300}",
    "generator.options={1: 2}",
    "generator.options={init_gain: 1e308}",
    "generator.options={channels: [.inf]}",
    "views.structure.crop=[[[]]]",
    "views.structure.crop=[1e-300, 1]",
    "views.structure.blur={probability: 1, sigma: [1e-320, 1e-320]}",
    "optimiser.lr=1e400",
    "seed=!!binary aGk=",
    "seed=!!int x",
    "seed=!!bool x",
    "seed=!!timestamp 2001-01-01",
    "terms.patches={loss: patches, weight: 1, options: {size: 64}}",
    "checkpoint.seconds=1e308",
)


@pytest.mark.slow
@pytest.mark.parametrize("setting", INVALID, ids=lambda setting: setting[:40])
def test_invalid_setting_exits_with_2_and_a_short_message(vitsplice, png, setting):
    done = vitsplice(*TINY, *png, "--steps", 1, "--set", "match.grid=4", "--set", setting)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of vitsplice" not in done.stderr
    assert len(done.stderr) < 2500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "20000"), "--size"),
        (("--steps", "99999999999"), "--steps"),
        (("--preset", "p" * 300), "no preset 'ppp"),
        (("--backbone", "b" * 300), "backbone.name: 'bbb"),
        (("--set", "terms.foo.loss=structure"), "terms.foo.weight: is missing; terms.foo requires loss and weight"),
        (("--set", "terms.mine={loss: nosuch, weight: 1}", "--preset", "instant"), "no loss term 'nosuch'"),
        (("--set", "terms.mine={loss: texture, weight: 0, options: {a: 1}}"), "terms.mine.options.a: 'texture' has no"),
    ],
)
def test_message_names_the_argument_not_the_preset(vitsplice, png, arguments, message):
    error = one_error(vitsplice(*TINY, *png, *arguments), 2)
    assert message in error
    assert "preset 'tiny':" not in error


def test_message_for_a_keyword_out_of_range_names_the_keyword():
    from vitsplice.errors import ConfigError
    from vitsplice.presets.settings import settings_for

    with pytest.raises(ConfigError, match="^size: 20000 is not allowed"):
        settings_for("quick", size=20_000)


@pytest.mark.parametrize("name", ["a" * 300, "vitsplice-" + "b" * 240])
def test_plugin_name_of_more_than_60_characters_is_rejected(vitsplice, name):
    assert "at most 60" in one_error(vitsplice("plugin", "new", name, "--kind", "loss"), 2)


KEYS = """
backbone backbone.name backbone.fallback start match match.grid match.balance generator generator.name
generator.options generator.options.channels generator.options.slope generator.options.down_convs terms
terms.structure terms.structure.weight terms.structure.view terms.structure.every terms.structure.layer
terms.structure.facet terms.structure.options terms.structure.options.form terms.new.loss stages views
views.structure views.structure.crop views.structure.bank views.structure.blur views.appearance.jitter
views.appearance.flip resize resize.size resize.max_size optimiser optimiser.lr optimiser.betas
optimiser.schedule structure_strength seed device precision previews metrics plots checkpoint nosuch a.b
match.further_backbones
""".split()  # noqa: SIM905
SCALARS = r"""
0 1 -1 2 3 0.5 1e-9 1e9 1e308 .inf .nan 9999999999999999999999 0x10 true no null ~ '' x structure match unet
pixels pyramid tiny-vit crop entire cosine image "\0" 2001-01-01 2001-99-99 << = all none [] {} !!int &a *a
""".split()  # noqa: SIM905


def _value(rng, depth=0):
    """Return random YAML: up to three lists or mappings, one in another, with `SCALARS` inside."""
    shape = rng.random()
    if depth > 2 or shape < 0.6:
        return rng.choice(SCALARS)
    parts = [_value(rng, depth + 1) for _ in range(rng.randint(1, 3))]
    if shape < 0.8:
        return f"[{', '.join(parts)}]"
    names = ("side", "share", "lr", "loss", "weight", "name", "crop", "kernel", "probability", "form", "x")
    return f"{{{', '.join(f'{rng.choice(names)}: {part}' for part in parts)}}}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_random_settings_never_cause_an_internal_error(vitsplice, png, seed):
    rng = random.Random(seed)
    for number in range(40):
        settings = [f"{rng.choice(KEYS)}={_value(rng)}" for _ in range(rng.randint(1, 2))]
        overrides = [word for setting in settings for word in ("--set", setting)]
        small = ("--set", "plots=none", "--size", 16, "--steps", 1, "-o", f"out{number}")
        done = vitsplice(*TINY, *png, *small, *overrides)
        assert done.returncode in (0, 2), f"{settings}\n{done.stderr}"
