"""Messages for pydantic's validation errors: the key, the given value and what is allowed, for any nested models."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from vitsplice.text import did_you_mean, truncate

Location = tuple[int | str, ...]
"""Keys and indices from the root to a value."""


def explain(error: ValidationError, model: type[BaseModel], data: Mapping[str, Any]) -> list[tuple[Location, str]]:
    """Return the location and the message of each mistake.

    Args:
        error: error of the validation.
        model: model that ``data`` was validated against.
        data: data that was validated.
    """
    return [(mistake["loc"], _message(mistake, model, data)) for mistake in error.errors(include_url=False)]


def _message(mistake: Any, model: type[BaseModel], data: Mapping[str, Any]) -> str:
    location, kind = mistake["loc"], mistake["type"]
    key, here = ".".join(map(str, location)), _type_at(model, location)
    if kind == "extra_forbidden":
        allowed = _keys(_type_at(model, location[:-1]))
        return f"{key}: unknown key; allowed here: {', '.join(allowed)}.{did_you_mean(str(location[-1]), allowed)}"
    if kind == "missing":
        return f"{key}: is missing{_requirements(location[:-1], model, data)}"
    given = truncate(repr(mistake["input"]))
    if kind in {"model_type", "model_attributes_type", "dict_type", "tuple_type"}:
        return f"{key}: {given} is not allowed; it must be {_shape(here)}"
    message = str(mistake["msg"]).removeprefix("Value error, ")
    return f"{key}: {given} is not allowed: {message[:1].lower()}{message[1:]}" if key else message


def _requirements(location: Location, model: type[BaseModel], data: Mapping[str, Any]) -> str:
    """List the required keys of an incomplete mapping and, as its name may be misspelt, the names beside it."""
    part = _model(_type_at(model, location))
    if part is None or not location:
        return ""
    required = [name for name, field in part.model_fields.items() if field.is_required()]
    requirements = f"; {'.'.join(map(str, location))} requires {' and '.join(required)}."
    if get_origin(_type_at(model, location[:-1])) is not dict:
        return requirements
    others = [name for name in _value_at(data, location[:-1]) if name != location[-1]]
    if hint := did_you_mean(str(location[-1]), others, "".join(f"{part}." for part in location[:-1])):
        return f"{requirements}{hint}"
    return f"{requirements} Others are {truncate(', '.join(others), 300)}." if others else requirements


def _shape(kind: Any) -> str:
    """Describe the values of a type."""
    if keys := _keys(kind):
        return f"a mapping with the keys {', '.join(keys)}"
    if get_origin(kind) is not tuple:
        return "a mapping, such as {name: value}"
    element = get_args(kind)[0]
    if keys := _keys(element):
        return f"a list of mappings with the keys {', '.join(keys)}"
    return "a list, such as [0, 1]" if element is float else "a list, such as [name]"


def _keys(kind: Any) -> list[str]:
    model = _model(kind)
    return list(model.model_fields) if model else []


def _model(kind: Any) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _type_at(model: Any, location: Location) -> Any:
    """Return the declared type at a location; None if it is not declared."""
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
    """Remove annotations and None from a type."""
    if get_origin(kind) is Annotated:
        return _unwrap(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return _unwrap(next(member for member in get_args(kind) if member is not type(None)))
    return kind


def _value_at(data: Any, location: Location) -> Any:
    for part in location:
        data = data[part]
    return data
