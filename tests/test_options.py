import pytest

from vitsplice.contracts import GeneratorSpec, Option
from vitsplice.errors import ConfigError
from vitsplice.options import complete, parse

SPEC = GeneratorSpec(
    "example",
    lambda structure, options: None,
    "",
    {
        "depth": Option(3, minimum=1, maximum=9),
        "slope": Option(0.2),
        "deep": Option(True),
        "start": Option("grey", choices=("grey", "noise")),
        "widths": Option([8, 16], minimum=1),
        "channels": Option(["r"], choices=("r", "g", "b")),
    },
)


def test_given_values_are_completed_by_defaults():
    given = {"depth": 5, "slope": 1, "start": "noise", "widths": [4], "channels": ["g", "b"]}
    assert complete(SPEC, given) == given | {"deep": True}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dept": 3}, "g.dept: 'example' has no such option; it accepts channels, deep, depth, .*Did you mean depth"),
        ({"depth": 2.5}, "g.depth: 2.5 is not allowed; it must be an integer"),
        ({"depth": True}, "it must be an integer"),
        ({"deep": 1}, "it must be true or false"),
        ({"slope": float("nan")}, "it must be finite"),
        ({"depth": 0}, "g.depth: 0 is too small; the minimum is 1"),
        ({"depth": 10}, "too large; the maximum is 9"),
        ({"start": "black"}, "'black' is not allowed; it must be one of grey, noise"),
        ({"channels": ["g", "x"]}, "g.channels: 'x' is not allowed; it must be one of r, g, b"),
        ({"widths": []}, "a list of one or more integers"),
        ({"widths": [4, "x"]}, "a list of one or more integers"),
        ({"widths": [4, 0]}, "too small"),
    ],
)
def test_an_error_names_the_key_and_what_is_allowed(given, message):
    with pytest.raises(ConfigError, match=message):
        complete(SPEC, given, "g.")


def test_options_are_parsed_as_yaml():
    assert parse(["depth=3", " start = noise", "widths=[4, 8]", "name="], "--option") == {
        "depth": 3, "start": "noise", "widths": [4, 8], "name": None,
    }  # fmt: skip


@pytest.mark.parametrize("word", ["depth", "=3", "", "x" * 1000])
def test_option_that_is_not_name_equals_value_is_quoted_briefly(word):
    with pytest.raises(ConfigError, match=r"--option '.*': write it as name=value") as caught:
        parse([word], "--option")
    assert len(str(caught.value)) < 200


def test_option_with_a_value_that_is_not_yaml_is_named():
    with pytest.raises(ConfigError, match=r"--option depth: '\[3' is not accepted as YAML"):
        parse(["depth=[3"], "--option")
