"""Checks of the fields of a spec, so that an invalid spec of one plugin cannot make a list of parts fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

from vitsplice.contracts import ConditionName, ImageName, MetricSpec, Option, PresetSpec, Role
from vitsplice.plugins.kinds import Spec
from vitsplice.text import truncate

Rule = tuple[Callable[[Any], bool], str]
"""Test of a value, and a description of the valid values."""


class InvalidPlugin(Exception):
    """A plugin violates the contract; the message is the reason in its record."""


def _of_type(expected: type, description: str) -> Rule:
    return lambda value: isinstance(value, expected), description


def _one_of(literal: Any) -> Rule:
    names = get_args(literal)
    return lambda value: isinstance(value, str) and value in names, f"one of {', '.join(names)}"


def _are_conditions(value: Any) -> bool:
    return isinstance(value, tuple) and all(name in get_args(ConditionName) for name in value)


def _are_options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) and _is_option(value[name]) for name in value)


def _is_option(value: Any) -> bool:
    return (
        isinstance(value, Option)
        and _is_default(value.default)
        and isinstance(value.help, str)
        and isinstance(value.choices, tuple | list)
        and all(not value.choices or element in value.choices for element in _elements(value.default))
        and all(_is_limit(limit, value.default) for limit in (value.minimum, value.maximum))
    )


def _is_default(value: Any) -> bool:
    elements = _elements(value)
    return bool(elements) and all(isinstance(element, bool | int | float | str | dict) for element in elements)


def _is_limit(value: Any, default: Any) -> bool:
    """Return whether a value is None, or a number with which each element of the default can be compared."""
    return value is None or all(_is_number(element) for element in [value, *_elements(default)])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _elements(default: Any) -> list[Any] | tuple[Any, ...]:
    return default if isinstance(default, list | tuple) else [default]


TEXT, INTEGER = _of_type(str, "a text"), _of_type(int, "an integer")

METRIC_TYPES = get_type_hints(MetricSpec)

FIELDS: dict[str, Rule] = {
    "summary": TEXT,
    "licence": TEXT,
    "source": TEXT,
    "stride": INTEGER,
    "image_size": INTEGER,
    "parameters": INTEGER,
    "max_pairs": INTEGER,
    "canvas": _of_type(bool, "True or False"),
    "input": _one_of(Role),
    "target": _one_of(ImageName),
    "better": _one_of(METRIC_TYPES["better"]),
    "over": _one_of(METRIC_TYPES["over"]),
    "against": _one_of(METRIC_TYPES["against"]),
    "conditions": (_are_conditions, f"a tuple of names: {', '.join(get_args(ConditionName))}"),
    "options": (
        _are_options,
        "a mapping of names to Option, with defaults that are true or false, numbers, texts, mappings or non-empty "
        "lists of these, a text as help, a tuple of choices with the default among them, and numbers or None as "
        "minimum and maximum (None unless the default is a number or a list of numbers)",
    ),
    "build": (callable, "a function"),
    "path": (lambda value: hasattr(value, "open"), "a path, such as files(PACKAGE) / NAME"),
}
"""Rule for each field. Not every spec has every field."""


def check_fields(spec: Spec, hook: str) -> None:
    """Raise InvalidPlugin if a spec that a hook returned has a field whose value is not valid."""
    rules = FIELDS | {"command": TEXT} if isinstance(spec, PresetSpec) else FIELDS
    for name, (is_valid, allowed) in rules.items():
        if hasattr(spec, name) and not is_valid(value := getattr(spec, name)):
            given = f"{name}={truncate(repr(value))}"
            raise InvalidPlugin(f"{hook}: {given} of '{spec.name}' is not allowed; it must be {allowed}")
