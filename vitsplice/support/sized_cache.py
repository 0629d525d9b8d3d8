"""A cache of the values that were used last, bounded by their size in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MIN_VALUES = 2
"""Number of values that are cached whatever their size: enough for both images of a pair."""


class SizedCache(Generic[Key, Value]):
    """Cache of the most recently used values.

    Args:
        limit: maximum size of all values in bytes; `MIN_VALUES` values are cached even if they are larger.
        size_of: function that returns the size of a value in bytes.
    """

    def __init__(self, limit: int, size_of: Callable[[Value], int]) -> None:
        self._limit, self._size_of = limit, size_of
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key, compute: Callable[[], Value]) -> Value:
        """Return the value of a key, from the cache if it is there; otherwise compute and cache it."""
        if key not in self._values:
            self._values[key] = value = compute()
            self._bytes += self._size_of(value)
            while len(self._values) > MIN_VALUES and self._bytes > self._limit:
                self._bytes -= self._size_of(self._values.popitem(last=False)[1])
        self._values.move_to_end(key)
        return self._values[key]
