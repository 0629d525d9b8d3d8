"""Errors of pydantic in words: the key, what was given, what is allowed. Whatever the shape of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from vitsplice.text import did_you_mean, truncate

Location = tuple[int | str, ...]


def explain(error: ValidationError, model: type[BaseModel], data: Mapping[str, Any]) -> list[tuple[Location, str]]:
    """Where each mistake is, and what to say of it.

    Args:
        error: of the validation.
        model: of the settings that were validated.
        data: that was given.
    """
    return [(one["loc"], _explained(one, model, data)) for one in error.errors(include_url=False)]


def _explained(error: Any, model: type[BaseModel], data: Mapping[str, Any]) -> str:
    location, kind = error["loc"], error["type"]
    key, here = ".".join(map(str, location)), _type_at(model, location)
    if kind == "extra_forbidden":
        allowed = _keys(_type_at(model, location[:-1]))
        return f"{key}: unknown key; allowed here: {', '.join(allowed)}.{did_you_mean(str(location[-1]), allowed)}"
    if kind == "missing":
        return f"{key}: is missing{_needs(location[:-1], model, data)}"
    given = truncate(repr(error["input"]))
    if kind in {"model_type", "model_attributes_type", "dict_type", "tuple_type"}:
        return f"{key}: {given} is not allowed; it {_shape(here)}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {given} is not allowed: {message[:1].lower()}{message[1:]}" if key else message


def _needs(location: Location, model: type[BaseModel], data: Mapping[str, Any]) -> str:
    """What an incomplete part of the settings needs; if its name is the user's own, which other names there are."""
    part = _model(_type_at(model, location))
    if part is None or not location:
        return ""
    required = [name for name, field in part.model_fields.items() if field.is_required()]
    needs = f"; {'.'.join(map(str, location))} needs {' and '.join(required)}."
    if get_origin(_type_at(model, location[:-1])) is not dict:
        return needs
    others = [name for name in _value_at(data, location[:-1]) if name != location[-1]]
    if hint := did_you_mean(str(location[-1]), others, "".join(f"{part}." for part in location[:-1])):
        return f"{needs}{hint}"
    return f"{needs} There are {truncate(', '.join(others), 300)}." if others else needs


def _shape(kind: Any) -> str:
    """What a value of a type is, for one who gave something else."""
    if keys := _keys(kind):
        return f"has keys of its own: {', '.join(keys)}"
    if get_origin(kind) is not tuple:
        return "takes a mapping, such as {name: value}"
    element = get_args(kind)[0]
    if keys := _keys(element):
        return f"takes a list of mappings with the keys {', '.join(keys)}"
    return "takes a list, such as [0, 1]" if element is float else "takes a list, such as [name]"


def _keys(kind: Any) -> list[str]:
    model = _model(kind)
    return list(model.model_fields) if model else []


def _model(kind: Any) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _type_at(model: Any, location: Location) -> Any:
    """The type of the settings at a location; None where there is none."""
    for part in location:
        model = _bare(_inside(model, part))
    return model


def _inside(kind: Any, part: int | str) -> Any:
    if model := _model(kind):
        field = model.model_fields.get(str(part))
        return field.annotation if field else None
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return arguments[1]
    return arguments[0] if get_origin(kind) is tuple else None


def _bare(kind: Any) -> Any:
    """A type without its annotations and without None."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return _bare(next(one for one in get_args(kind) if one is not type(None)))
    return kind


def _value_at(data: Any, location: Location) -> Any:
    for part in location:
        data = data[part]
    return data
