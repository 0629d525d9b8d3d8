"""YAML from untrusted sources, with limits.

Allowed are texts and numbers of limited length, truth values and null, in lists and mappings of limited depth.

``yaml.safe_load`` accepts more, which is refused here: aliases (with which a short text expands to millions of values),
tags, duplicate keys, and keys that are not text. Dates are text, and numbers are those of YAML 1.2: ``1e-3`` is a
number, ``0123`` is 123, and ``1:30`` is text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, ClassVar

import yaml

from vitsplice.text import printable, truncate

MAX_DEPTH = 16
"""Maximum depth of nested lists and mappings."""

MAX_NUMBER = 64
"""Maximum length of a number in characters."""

MAX_TEXT = 4096
"""Maximum length of a text in characters: that of a path on Linux."""

_TAG = "tag:yaml.org,2002:"

_INT = re.compile(r"[-+]?[0-9]+$|0x[0-9a-fA-F]+$|0o[0-7]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
_FIRST = "-+0123456789"
"""First characters of integers; floats may also begin with a dot."""


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes YAML that `parse` reads as the same values; uses libyaml if available, which is five times as fast."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a repeated list or mapping in full each time."""
        return True


class InvalidYAML(ValueError):
    """YAML that is invalid or not accepted here; the message is one line."""


def parse(text: str) -> Any:
    """Parse a YAML text. Raises InvalidYAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except InvalidYAML:
        raise
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidYAML(_reason(error)) from error
    except (ValueError, OverflowError) as error:  # PyYAML does not check numbers in escapes and directives
        raise InvalidYAML(f"a number in an escape sequence or a directive is not valid: {error}") from error


def _reason(error: Exception) -> str:
    """Return the message of an error of PyYAML in one line: where and what the problem is, and its context."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
    context = error.context or ""
    if error.context_mark:
        context += f" at {_place(error.context_mark)}"
    problem = f"{_place(error.problem_mark)}: {str(error.problem).removeprefix('but ')}"
    return f"{problem} ({context})" if context else problem


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def is_valid_text(value: str) -> bool:
    """Return True if text can be part of a path: it has no NUL and no surrogates, which UTF-8 cannot encode."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]
    yaml_constructors: ClassVar[dict[Any, Any]] = {}
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise InvalidYAML("aliases (*name) are not allowed")
        if getattr(self.peek_event(), "tag", None) is not None:  # type: ignore[no-untyped-call]
            raise InvalidYAML("tags (!name) are not allowed")
        if self._depth >= MAX_DEPTH and self.check_event(yaml.CollectionStartEvent):
            raise InvalidYAML(f"nested more than {MAX_DEPTH} levels deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Do not merge: ``<<`` is a key like any other."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        seen: set[str] = set()
        for key in keys:
            if not isinstance(key, str):
                raise InvalidYAML(f"a key must be text, not {str(key)[:40]}")
            if key in seen:
                raise InvalidYAML(f"duplicate key '{printable(truncate(key))}'")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def text(self, node: yaml.ScalarNode) -> str:
        if not is_valid_text(node.value):
            raise InvalidYAML("text with a NUL character or a character that UTF-8 cannot encode is not allowed")
        if len(node.value) > MAX_TEXT:
            raise InvalidYAML(f"text of {len(node.value)} characters; at most {MAX_TEXT} are allowed")
        return str(node.value)

    def number(self, node: yaml.ScalarNode) -> int | float:
        if len(node.value) > MAX_NUMBER:
            raise InvalidYAML(f"a number of {len(node.value)} characters; at most {MAX_NUMBER} are allowed")
        if node.tag == f"{_TAG}float":
            return self.construct_yaml_float(node)
        return int(node.value, 0 if node.value.startswith(("0x", "0o")) else 10)


_CONSTRUCTORS = {
    "null": _Loader.construct_yaml_null,
    "bool": _Loader.construct_yaml_bool,
    "int": _Loader.number,
    "float": _Loader.number,
    "str": _Loader.text,
    "seq": _Loader.construct_yaml_seq,
    "map": _Loader.construct_yaml_map,
}
for _name, _construct in _CONSTRUCTORS.items():
    _Loader.add_constructor(f"{_TAG}{_name}", _construct)
for _first, _resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items():
    _Loader.yaml_implicit_resolvers[_first] = [
        pair for pair in _resolvers if pair[0].removeprefix(_TAG) in _CONSTRUCTORS.keys() - {"int", "float"}
    ]
for _class in (_Loader, Dumper):
    _class.add_implicit_resolver(f"{_TAG}int", _INT, list(_FIRST))
    _class.add_implicit_resolver(f"{_TAG}float", _FLOAT, list(f".{_FIRST}"))
