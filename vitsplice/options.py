"""Options of loss terms, generators and executors: parsing, and validation against their spec."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from vitsplice.contracts import ConditionalGeneratorSpec, ExecutorSpec, GeneratorSpec, LossSpec, Option
from vitsplice.errors import ConfigError
from vitsplice.support import bounded_yaml
from vitsplice.text import did_you_mean, truncate

_TYPE_NAMES = {
    bool: ("true or false", "true or false"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    dict: ("a mapping", "mappings"),
}
"""Words for one value of a type, and for several values, in messages."""


def parse(words: Iterable[str], where: str) -> dict[str, Any]:
    """Parse options.

    Args:
        words: options as ``name=value`` with values in YAML.
        where: text before an option in messages, such as ``--option``.

    Raises:
        ConfigError: if an option has another form, or its value is not accepted (`vitsplice.support.bounded_yaml`).
    """
    options = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{where} {truncate(word)!r}: write it as name=value")
        try:
            options[name.strip()] = bounded_yaml.parse(value)
        except bounded_yaml.InvalidYAML as error:
            message = f"{where} {truncate(name)}: {truncate(value)!r} is not accepted as YAML: {error}"
            raise ConfigError(message) from error
    return options


def complete(
    spec: LossSpec | GeneratorSpec | ConditionalGeneratorSpec | ExecutorSpec, given: Mapping[str, Any], prefix: str = ""
) -> dict[str, Any]:
    """Validate the given options, and add the defaults of all others.

    Args:
        spec: spec of a loss term, a generator (conditional or not) or an executor.
        given: values of options by name.
        prefix: text before the name of an option in messages, such as ``generator.options.`` or ``--option ``.

    Raises:
        ConfigError: for an option that the spec does not have, or a value that has a wrong type or is not allowed.
    """
    for name in given:
        if name not in spec.options:
            allowed = f"{', '.join(sorted(spec.options)) or 'no options'}.{did_you_mean(name, spec.options)}"
            raise ConfigError(f"{prefix}{name}: '{spec.name}' has no such option; it accepts {allowed}")
    return {
        name: _checked(option, given[name], f"{prefix}{name}") if name in given else option.default
        for name, option in spec.options.items()
    }


def _checked(option: Option, value: Any, key: str) -> Any:
    if not _has_accepted_type(option.default, value):
        raise ConfigError(
            f"{key}: {value!r} is not allowed; it must be {_type_name(option.default)}, such as {option.default!r}"
        )
    for element in value if isinstance(value, list | tuple) else [value]:
        if option.choices and element not in option.choices:
            allowed = ", ".join(map(str, option.choices))
            raise ConfigError(f"{key}: {element!r} is not allowed; it must be one of {allowed}")
        if isinstance(element, float) and not math.isfinite(element):
            raise ConfigError(f"{key}: {value!r} is not allowed; it must be finite")
        if option.minimum is not None and element < option.minimum:
            raise ConfigError(f"{key}: {value!r} is too small; the minimum is {option.minimum:g}")
        if option.maximum is not None and element > option.maximum:
            raise ConfigError(f"{key}: {value!r} is too large; the maximum is {option.maximum:g}")
    return value


def _has_accepted_type(default: Any, value: Any) -> bool:
    """Whether a value has the type of the default, or is an integer in place of a float; a list must not be empty."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, list | tuple):
        is_nonempty_list = isinstance(value, list | tuple) and len(value) > 0
        return is_nonempty_list and all(_has_accepted_type(default[0], item) for item in value)
    return isinstance(value, type(default))


def _type_name(default: Any) -> str:
    is_list = isinstance(default, list | tuple)
    type_ = type(default[0] if is_list else default)
    singular, plural = _TYPE_NAMES.get(type_, (type_.__name__, type_.__name__))
    return f"a list of one or more {plural}" if is_list else singular
