"""Values that no setting accepts."""

import pytest
from pydantic import ValidationError

from vitsplice.config.optimisation import OptimiserConfig
from vitsplice.config.settings import Settings
from vitsplice.config.views import BlurConfig


class Tagged(Settings):
    tags: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (OptimiserConfig, {"lr": True}),
        (OptimiserConfig, {"betas": [False, 0.99]}),
        (BlurConfig, {"probability": 1, "sigma": (0.5, True)}),
    ],
)
def test_booleans_are_refused_as_numbers_also_within_lists(config, values):
    with pytest.raises(ValidationError, match="true and false are not allowed"):
        config(**values)


@pytest.mark.parametrize("text", ["a\0", "\ud800"])
def test_text_that_cannot_be_a_file_name_is_refused_also_within_lists(text):
    with pytest.raises(ValidationError, match="NUL characters or lone surrogates"):
        Tagged(tags=[text])
