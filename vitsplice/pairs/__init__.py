"""Sets of pairs: which structure image goes with which appearance image, in a file that a script can read."""

from vitsplice.pairs.count import count
from vitsplice.pairs.manifest import FIELDS, Pair, read, write

__all__ = ["FIELDS", "Pair", "count", "read", "write"]
