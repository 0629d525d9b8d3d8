"""Settings of a run."""

import pytest

from vitsplice.errors import ConfigError
from vitsplice.presets.loading import load

SETTINGS = "{backbone: {name: tiny-vit}, start: match, steps: 5, terms: {a: {loss: structure, weight: 1}}}"


@pytest.mark.parametrize(
    ("start", "advice"),
    [
        ("structure", "use a preset with terms"),
        ("match", "set steps to 0, or use a preset with terms"),
    ],
)
def test_advice_for_settings_without_terms_depends_on_the_start(start, advice):
    with pytest.raises(ConfigError, match=f"steps: 5 is not allowed: these settings have no loss terms; {advice}"):
        load(SETTINGS, "preset", [f"start={start}", "terms={}"])


@pytest.mark.parametrize(
    "override",
    [
        "terms.b.weight=0",
        "terms.b.start=5",
        "terms={a: {loss: structure, weight: 1}, b: {loss: texture, weight: 1, start: 3, every: 8}}",
        "stages=[{side: 32, terms: [a]}]",
    ],
)
def test_optimised_losses_are_those_of_terms_that_are_ever_active(override):
    both = ["terms.b={loss: texture, weight: 1}"]
    assert load(SETTINGS, "preset", both).optimised_losses == {"structure", "texture"}
    assert load(SETTINGS, "preset", [*both, override]).optimised_losses == {"structure"}


def test_a_term_of_one_stage_is_optimised_and_no_term_of_a_run_without_steps_is():
    stages = "stages=[{side: 32, terms: []}, {side: 48, terms: [a]}]"
    assert load(SETTINGS, "preset", [stages]).optimised_losses == {"structure"}
    assert load(SETTINGS, "preset", ["steps=0"]).optimised_losses == set()
