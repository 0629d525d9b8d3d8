"""Data sets of pairs: manifests that list which structure image goes with which appearance images."""

from vitsplice.datasets.manifest import count, read, write
from vitsplice.datasets.pair import FIELDS, Pair

__all__ = ["FIELDS", "Pair", "count", "read", "write"]
