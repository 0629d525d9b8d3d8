"""Sets of pairs: which structure image goes with which appearance image, in a file that a script can read."""

from vitsplice.datasets.count import count
from vitsplice.datasets.manifest import FIELDS, Pair, read, write

__all__ = ["FIELDS", "Pair", "count", "read", "write"]
