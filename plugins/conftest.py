"""Fixtures of the tests of all plugins."""

from tests.conftest import _own_cache

__all__ = ["_own_cache"]
