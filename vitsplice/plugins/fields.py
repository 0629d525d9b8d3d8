"""Checks of the fields of a spec, so that a list of parts never fails at the spec of one plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from vitsplice.contracts import ConditionName, Option
from vitsplice.plugins.kinds import Spec
from vitsplice.text import truncate

CONDITIONS = get_args(ConditionName)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int)


def _are_conditions(value: Any) -> bool:
    return isinstance(value, tuple) and all(name in CONDITIONS for name in value)


def _are_options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(option, Option) and _is_default(option.default)
        for name, option in value.items()
    )


def _is_default(value: Any) -> bool:
    elements = value if isinstance(value, list | tuple) else [value]
    return bool(elements) and all(isinstance(element, bool | int | float | str | dict) for element in elements)


def _can_be_opened(value: Any) -> bool:
    return hasattr(value, "open")


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "summary": (_is_text, "a text"),
    "build": (callable, "a function"),
    "options": (
        _are_options,
        "a mapping of names to Option, with defaults that are true or false, numbers, texts, mappings or non-empty "
        "lists of these",
    ),
    "conditions": (_are_conditions, f"a tuple of names: {', '.join(CONDITIONS)}"),
    "path": (_can_be_opened, "a path, such as files(PACKAGE) / NAME"),
    "licence": (_is_text, "a text"),
    "source": (_is_text, "a text"),
    "stride": (_is_integer, "an integer"),
    "image_size": (_is_integer, "an integer"),
    "parameters": (_is_integer, "an integer"),
}
"""Field of a spec -> whether a value is valid, and description of the valid ones. Not every spec has every field."""


def mistake_in(spec: Spec) -> str:
    """Describe the first field of a spec whose value is not valid; "" if there is none."""
    for name, (is_valid, allowed) in FIELDS.items():
        if hasattr(spec, name) and not is_valid(value := getattr(spec, name)):
            return f"{name}={truncate(repr(value))} of '{spec.name}' is not allowed; it must be {allowed}"
    return ""
