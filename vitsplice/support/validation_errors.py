"""Messages for pydantic's validation errors: the key, the given value and what is allowed, for any nested models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from vitsplice.text import did_you_mean, one_line, truncate

Location = tuple[int | str, ...]
"""Keys and indices from the root to a value."""

MAX_NAMED = 3
"""Maximum number of unknown or missing keys that a message names; it counts the others."""

WORDINGS = (
    (r"Value error, (.*)", r"\1"),
    (r"Field required", "is missing"),
    (r"Extra inputs are not permitted", "unknown key"),
    (r"Input should be a valid integer.*", "must be an integer"),
    (r"Input should be a valid (array|tuple)", "must be a list"),
    (r"Input should be a valid (\w+).*", r"must be a \1"),
    (r"Input should be (.*)", r"must be \1"),
    (r"Input is not a valid path.*", "must be a path"),
    (r"\w+ should have (.*?)( after validation, not \d+)?", r"must have \1"),
    (r"String should match pattern (.*)", r"must match the pattern \1"),
    (r"Invalid JSON: (.*)", r"is not valid JSON: \1"),
)
"""Patterns of pydantic's messages, and the text that replaces them."""


def explain(error: ValidationError, model: type[BaseModel], data: Mapping[str, Any]) -> list[tuple[Location, str]]:
    """Return the location and the message of each mistake.

    One message names all unknown keys of a mapping, with the location of the first; another names all its missing keys,
    with the location of the mapping or, at the root, of the first missing key.

    Args:
        error: error of the validation.
        model: model that ``data`` was validated against.
        data: data that was validated.
    """
    groups: dict[tuple[str, Location], list[Any]] = {}
    for mistake in error.errors(include_url=False):
        location, kind = mistake["loc"], mistake["type"]
        group = location[:-1] if kind in {"extra_forbidden", "missing"} else location
        groups.setdefault((kind, group), []).append(mistake)
    return [
        (group if kind == "missing" and group else mistakes[0]["loc"], _message(mistakes, model, data))
        for (kind, group), mistakes in groups.items()
    ]


def first_problem(error: ValidationError) -> str:
    """Describe the first mistake on one line, such as ``trials.0.pair: is missing``."""
    first = error.errors()[0]
    location = ".".join(map(str, first["loc"]))
    return one_line(f"{location and f'{location}: '}{wording(first['msg'])}")


def wording(message: str) -> str:
    """Replace a message of pydantic by the wording of this project.

    >>> wording("Input should be a valid string"), wording("Input should be greater than 0")
    ('must be a string', 'must be greater than 0')
    """
    for pattern, replacement in WORDINGS:
        if match := re.fullmatch(pattern, message, re.DOTALL):
            return match.expand(replacement)
    return f"{message[:1].lower()}{message[1:]}"


def _message(mistakes: Sequence[Any], model: type[BaseModel], data: Mapping[str, Any]) -> str:
    """Describe a mistake, or several unknown or missing keys of one mapping."""
    location, kind = mistakes[0]["loc"], mistakes[0]["type"]
    keys = [".".join(map(str, mistake["loc"])) for mistake in mistakes]
    named = ", ".join(keys[:MAX_NAMED]) + (f" and {len(keys) - MAX_NAMED} more" if len(keys) > MAX_NAMED else "")
    if kind == "extra_forbidden":
        allowed = _keys(_type_at(model, location[:-1]))
        hints = [did_you_mean(str(mistake["loc"][-1]), allowed) for mistake in mistakes[:MAX_NAMED]]
        problem = "unknown key" if len(keys) == 1 else "unknown keys"
        return f"{named}: {problem}; allowed here: {', '.join(allowed)}.{''.join(hints)}"
    if kind == "missing":
        return f"{named}: {'is' if len(keys) == 1 else 'are'} missing{_requirements(location[:-1], model, data)}"
    given = f"{named and f'{named}: '}{truncate(repr(mistakes[0]['input']))} is not allowed"
    if kind in {"model_type", "model_attributes_type", "dict_type", "tuple_type"}:
        return f"{given}; it must be {_shape(_type_at(model, location))}"
    text = wording(mistakes[0]["msg"])
    return f"{given}: {text}" if named else text


def _requirements(location: Location, model: type[BaseModel], data: Mapping[str, Any]) -> str:
    """List the required keys of an incomplete mapping.

    If the incomplete mapping is an entry of a mapping with free names, such as ``terms``, its name may be misspelt.
    Then suggest a similar name of another entry, or list the names of all others.
    """
    incomplete = _model(_type_at(model, location))
    if incomplete is None or not location:
        return ""
    required = [name for name, field in incomplete.model_fields.items() if field.is_required()]
    requirements = f"; {'.'.join(map(str, location))} requires {' and '.join(required)}."
    if get_origin(_type_at(model, location[:-1])) is not dict:
        return requirements
    others = [str(name) for name in _value_at(data, location[:-1]) if name != location[-1]]
    if hint := did_you_mean(str(location[-1]), others, "".join(f"{part}." for part in location[:-1])):
        return f"{requirements}{hint}"
    return f"{requirements} Existing names: {truncate(', '.join(others), 300)}." if others else requirements


def _shape(kind: Any) -> str:
    """Describe the values that the type of a mapping or list allows, by their keys or an example."""
    if keys := _keys(kind):
        return f"a mapping with the keys {', '.join(keys)}"
    if get_origin(kind) is not tuple:
        return "a mapping, such as {name: value}"
    element = _unwrap(get_args(kind)[0])
    if keys := _keys(element):
        return f"a list of mappings with the keys {', '.join(keys)}"
    return "a list, such as [0, 1]" if element is float else "a list, such as [name]"


def _keys(kind: Any) -> list[str]:
    model = _model(kind)
    return list(model.model_fields) if model else []


def _model(kind: Any) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _type_at(model: Any, location: Location) -> Any:
    """Return the declared type at a location; None if no type is declared there."""
    for part in location:
        model = _unwrap(_item_type(model, part))
    return model


def _item_type(kind: Any, part: int | str) -> Any:
    if model := _model(kind):
        field = model.model_fields.get(str(part))
        return field.annotation if field else None
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return arguments[1]
    return arguments[0] if get_origin(kind) is tuple else None


def _unwrap(kind: Any) -> Any:
    """Remove annotations from a type; of a union, return the first member that is not None."""
    if get_origin(kind) is Annotated:
        return _unwrap(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return _unwrap(next(member for member in get_args(kind) if member is not type(None)))
    return kind


def _value_at(data: Any, location: Location) -> Any:
    """Return the value at a location; {} if there is none.

    The data may lack a location: validation renames ``backbone`` to an entry of ``backbones``.
    """
    for part in location:
        data = data.get(part, {}) if isinstance(data, Mapping) else data[part]
    return data
