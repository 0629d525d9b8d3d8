import pytest

from vitsplice.contracts import GeneratorSpec, Option
from vitsplice.errors import ConfigError
from vitsplice.options import complete

SPEC = GeneratorSpec(
    "made-up",
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


def test_defaults_and_given_values():
    expected = {"depth": 5, "slope": 1, "deep": True, "start": "noise", "widths": [4]}
    assert complete(SPEC, {"depth": 5, "slope": 1, "start": "noise", "widths": [4]}) == expected


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"dept": 3}, "g.dept: 'made-up' has no such option; it takes deep, depth, .*Did you mean depth"),
        ({"depth": 2.5}, "g.depth: 2.5 is not allowed; it takes a whole number"),
        ({"depth": True}, "it takes a whole number"),
        ({"deep": 1}, "it takes true or false"),
        ({"slope": float("nan")}, "it takes finite numbers"),
        ({"depth": 0}, "g.depth: 0 is too small; the least is 1"),
        ({"depth": 10}, "too large; the most is 9"),
        ({"start": "black"}, "'black' is not allowed; it is one of grey, noise"),
        ({"widths": []}, "a list of a whole number"),
        ({"widths": [4, "x"]}, "a list of a whole number"),
        ({"widths": [4, 0]}, "too small"),
    ],
)
def test_what_is_not_allowed_is_told_by_its_key(given, told):
    with pytest.raises(ConfigError, match=told):
        complete(SPEC, given, "g")
