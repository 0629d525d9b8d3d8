"""Checking the options of a loss term, a generator or an executor against what its spec declares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from vitsplice.contracts import ExecutorSpec, GeneratorSpec, LossSpec, Option
from vitsplice.errors import ConfigError
from vitsplice.support import bounded_yaml
from vitsplice.text import nearest, shortened


def parse(given: Iterable[str], where: str) -> dict[str, Any]:
    """Option name -> value, from ``name=value`` with values in YAML.

    Raises:
        ConfigError: naming ``where`` and what is not of that form.
    """
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        try:
            found[name.strip()] = bounded_yaml.parse(value)
        except bounded_yaml.YAMLMistake as error:
            shown = shortened(value)
            raise ConfigError(f"{where} {shortened(name)}: {shown!r} is not a YAML value: {error}") from error
        if not equals or not name.strip():
            raise ConfigError(f"{where} {one!r}: write it as name=value")
    return found


def complete(
    spec: LossSpec | GeneratorSpec | ExecutorSpec, given: Mapping[str, Any], where: str = ""
) -> dict[str, Any]:
    """Every option of a spec: the given values, checked, and the defaults of the others.

    Args:
        spec: a loss term, a generator or an executor.
        given: option name -> value.
        where: the dotted key under which they were given, for messages.

    Raises:
        ConfigError: for an unknown name, a wrong type or a value that is not allowed.
    """
    where = f"{where}." if where else ""
    for name in given:
        if name not in spec.options:
            allowed = f"{', '.join(sorted(spec.options)) or 'no options'}.{nearest(name, spec.options)}"
            raise ConfigError(f"{where}{name}: '{spec.name}' has no such option; it takes {allowed}")
    return {
        name: _checked(option, given[name], f"{where}{name}") if name in given else option.default
        for name, option in spec.options.items()
    }


def _checked(option: Option, value: Any, key: str) -> Any:
    if not _same_type(option.default, value):
        raise ConfigError(
            f"{key}: {value!r} is not allowed; it takes {_kind(option.default)}, such as {option.default!r}"
        )
    if option.choices and value not in option.choices:
        raise ConfigError(f"{key}: {value!r} is not allowed; it is one of {', '.join(map(str, option.choices))}")
    for number in value if isinstance(value, list | tuple) else [value]:
        if isinstance(number, float) and not math.isfinite(number):
            raise ConfigError(f"{key}: {value!r} is not allowed; it takes finite numbers")
        if option.minimum is not None and number < option.minimum:
            raise ConfigError(f"{key}: {value!r} is too small; the least is {option.minimum:g}")
        if option.maximum is not None and number > option.maximum:
            raise ConfigError(f"{key}: {value!r} is too large; the most is {option.maximum:g}")
    return value


def _same_type(default: Any, value: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple) and all(_same_type(default[0], v) for v in value) and bool(value)
    return isinstance(value, type(default))


def _kind(default: Any) -> str:
    if isinstance(default, list | tuple):
        return f"a list of {_kind(default[0])}"
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    return kinds.get(type(default), type(default).__name__)
