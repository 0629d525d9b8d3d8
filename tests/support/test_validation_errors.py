from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from vitsplice.support.validation_errors import explain


class Leaf(BaseModel, extra="forbid"):
    side: int = Field(ge=1)
    share: float = 1.0


class Tree(BaseModel, extra="forbid"):
    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    named: dict[str, Leaf] = {}
    free: dict[str, Any] = {}
    numbers: tuple[float, float] = (0, 1)
    shares: tuple[Annotated[float, Field(le=1)], ...] = ()
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            [1],
            "[1] is not allowed; it must be a mapping with the keys leaf, leaves, named, free, numbers, shares, names",
        ),
        (
            {"leef": 1},
            "leef: unknown key; allowed here: leaf, leaves, named, free, numbers, shares, names. Did you mean leaf?",
        ),
        ({"leaf": {"sidee": 2, "side": 1}}, "leaf.sidee: unknown key; allowed here: side, share. Did you mean side?"),
        ({"leaf": 5}, "leaf: 5 is not allowed; it must be a mapping with the keys side, share"),
        ({"leaf": {}}, "leaf.side: is missing; leaf requires side."),
        ({"leaves": 5}, "leaves: 5 is not allowed; it must be a list of mappings with the keys side, share"),
        ({"leaves": [5]}, "leaves.0: 5 is not allowed; it must be a mapping with the keys side, share"),
        ({"leaves": [{"side": 1, "foo": 2}]}, "leaves.0.foo: unknown key; allowed here: side, share."),
        ({"leaves": [{"side": 0}]}, "leaves.0.side: 0 is not allowed: must be greater than or equal to 1"),
        ({"named": 5}, "named: 5 is not allowed; it must be a mapping, such as {name: value}"),
        ({"named": {"a": 5}}, "named.a: 5 is not allowed; it must be a mapping with the keys side, share"),
        ({"named": {"a": {}}}, "named.a.side: is missing; named.a requires side."),
        (
            {"named": {"first": {"side": 1}, "frist": {}}},
            "named.frist.side: is missing; named.frist requires side. Did you mean named.first?",
        ),
        (
            {"named": {"one": {"side": 1}, "two": {}}},
            "named.two.side: is missing; named.two requires side. Existing names: one.",
        ),
        ({"free": [1]}, "free: [1] is not allowed; it must be a mapping, such as {name: value}"),
        ({"numbers": 3}, "numbers: 3 is not allowed; it must be a list, such as [0, 1]"),
        ({"shares": 0.9}, "shares: 0.9 is not allowed; it must be a list, such as [0, 1]"),
        ({"numbers": [1]}, "numbers.1: is missing"),
        (
            {"xa": 1, "xb": 2, "xc": 3, "leef": 4, "xe": 5},
            "xa, xb, xc and 2 more: unknown keys; allowed here: leaf, leaves, named, free, numbers, shares, names.",
        ),
        ({"leaves": [{"side": "a"}]}, "leaves.0.side: 'a' is not allowed: must be an integer"),
        ({"numbers": [1, 2, 3]}, "numbers: [1, 2, 3] is not allowed: must have at most 2 items"),
        ({"names": {"a": 1}}, "names: {'a': 1} is not allowed; it must be a list, such as [name]"),
    ],
)
def test_message_names_the_key_and_what_is_allowed(data, message):
    with pytest.raises(ValidationError) as raised:
        Tree.model_validate(data)
    assert [text for _, text in explain(raised.value, Tree, data)] == [message]


def test_long_value_is_truncated():
    data = {"leaf": {"side": "x" * 5000}}
    with pytest.raises(ValidationError) as raised:
        Tree.model_validate(data)
    assert len(explain(raised.value, Tree, data)[0][1]) < 250


def test_existing_names_that_are_not_strings_are_listed():
    data = {"named": {1: {"side": 1}, "two": {}}}
    with pytest.raises(ValidationError) as raised:
        Tree.model_validate(data)
    messages = dict(explain(raised.value, Tree, data))
    assert messages["named", "two"] == "named.two.side: is missing; named.two requires side. Existing names: 1."
