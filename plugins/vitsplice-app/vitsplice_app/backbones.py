"""Loaded backbones, shared by the tabs Transfer, Correspondence, Layers and Inversion."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitsplice.engine.backbones import BackboneCache


@cache
def shared_backbones() -> BackboneCache:
    """Return the cache of this process. Several tabs may use it, and call the same backbone, at once."""
    from vitsplice.engine.backbones import BackboneCache

    return BackboneCache()
