"""Loaded backbones, shared by all tabs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitsplice.engine.backbones import BackboneCache


@cache
def shared_backbones() -> BackboneCache:
    """Return the cache of this process. Calls of one backbone by several tabs at once are safe."""
    from vitsplice.engine.backbones import BackboneCache

    return BackboneCache()
