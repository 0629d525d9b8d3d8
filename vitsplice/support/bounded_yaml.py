"""YAML that comes from anyone: text, numbers, lists and mappings, of limited size and depth, and nothing else.

Aliases and merge keys are refused (a few could stand for millions), so are tags, duplicate keys, keys that are not
text, and text that no file could be named by. Dates are text. ``1e-3`` is a number, as in YAML 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, ClassVar

import yaml

DEEPEST = 16
"""Lists and mappings may not be nested deeper."""

LONGEST_NUMBER = 64
"""A number may not have more characters."""

LONGEST_TEXT = 4096
"""A single text may not have more characters: the longest path of Linux."""

_TAG = "tag:yaml.org,2002:"


class YAMLMistake(ValueError):
    """What is wrong with a text, on one line."""


def parse(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        YAMLMistake: if it is not YAML, or is more than this module takes.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except YAMLMistake:
        raise
    except (yaml.YAMLError, RecursionError) as error:
        raise YAMLMistake(" ".join(str(error).split())) from error


def is_text(value: str) -> bool:
    """Whether it can be written as UTF-8 and given to a system call: no NUL, no half of a surrogate pair."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]
    yaml_constructors: ClassVar[dict[Any, Any]] = {}
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise YAMLMistake("aliases (*name) are not allowed")
        if getattr(self.peek_event(), "tag", None) is not None:  # type: ignore[no-untyped-call]
            raise YAMLMistake("tags (!name) are not allowed")
        if self._depth > DEEPEST:
            raise YAMLMistake(f"nested deeper than {DEEPEST}")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Nothing: ``<<`` is a key like any other."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if not isinstance(key, str):
                raise YAMLMistake(f"a key must be text, not {str(key)[:40]!r}")
            if key in keys[:number]:
                raise YAMLMistake(f"the key '{key}' is given twice")
        return super().construct_mapping(node, deep)

    def text(self, node: yaml.ScalarNode) -> str:
        if not is_text(node.value):
            raise YAMLMistake("text with a NUL character or an incomplete Unicode character is not allowed")
        if len(node.value) > LONGEST_TEXT:
            raise YAMLMistake(f"text of {len(node.value)} characters; at most {LONGEST_TEXT} are allowed")
        return str(node.value)

    def number(self, node: yaml.ScalarNode) -> int | float:
        if len(node.value) > LONGEST_NUMBER:
            raise YAMLMistake(f"a number of {len(node.value)} characters; at most {LONGEST_NUMBER} are allowed")
        construct = self.construct_yaml_int if node.tag == f"{_TAG}int" else self.construct_yaml_float
        try:
            return construct(node)
        except (ValueError, OverflowError) as error:
            raise YAMLMistake(f"{node.value!r} is not a number") from error


_KINDS = {
    "null": _Loader.construct_yaml_null,
    "bool": _Loader.construct_yaml_bool,
    "int": _Loader.number,
    "float": _Loader.number,
    "str": _Loader.text,
    "seq": _Loader.construct_yaml_seq,
    "map": _Loader.construct_yaml_map,
}
for _name, _construct in _KINDS.items():
    _Loader.add_constructor(f"{_TAG}{_name}", _construct)
for _first, _resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items():
    _Loader.yaml_implicit_resolvers[_first] = [one for one in _resolvers if one[0].removeprefix(_TAG) in _KINDS]
_Loader.add_implicit_resolver(
    f"{_TAG}float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
