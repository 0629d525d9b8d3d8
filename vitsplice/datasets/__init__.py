"""Data sets of pairs: manifests that list which structure image goes with which appearance image."""

from vitsplice.datasets.manifest import FIELDS, Pair, count, read, write

__all__ = ["FIELDS", "Pair", "count", "read", "write"]
