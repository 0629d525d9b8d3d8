import pytest

from vitsplice.contracts import GeneratorSpec, Option
from vitsplice.errors import ConfigError
from vitsplice.options import complete

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
    },
)


def test_given_values_are_completed_by_defaults():
    expected = {"depth": 5, "slope": 1, "deep": True, "start": "noise", "widths": [4]}
    assert complete(SPEC, {"depth": 5, "slope": 1, "start": "noise", "widths": [4]}) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dept": 3}, "g.dept: 'example' has no such option; it accepts deep, depth, .*Did you mean depth"),
        ({"depth": 2.5}, "g.depth: 2.5 is not allowed; it must be an integer"),
        ({"depth": True}, "it must be an integer"),
        ({"deep": 1}, "it must be true or false"),
        ({"slope": float("nan")}, "it must be finite"),
        ({"depth": 0}, "g.depth: 0 is too small; the minimum is 1"),
        ({"depth": 10}, "too large; the maximum is 9"),
        ({"start": "black"}, "'black' is not allowed; it must be one of grey, noise"),
        ({"widths": []}, "a list of integers"),
        ({"widths": [4, "x"]}, "a list of integers"),
        ({"widths": [4, 0]}, "too small"),
    ],
)
def test_an_error_names_the_key_and_what_is_allowed(given, message):
    with pytest.raises(ConfigError, match=message):
        complete(SPEC, given, "g")
