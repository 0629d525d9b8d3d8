"""Loaded backbones, shared by the tabs Transfer, Correspondence, Layers and Inversion."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitsplice.contracts import BackboneInfo
    from vitsplice.engine.backbones import BackboneCache


@cache
def shared_backbones() -> BackboneCache:
    """Return the cache of this process. Several tabs may use it, and call the same backbone, at once."""
    from vitsplice.engine.backbones import BackboneCache

    return BackboneCache()


def backbone_info(backbone: str) -> BackboneInfo:
    """Return the info of a backbone, which is loaded into the cache unless it is cached.

    Raises:
        UnknownName, WeightsUnavailable, WeightsRejected: see `vitsplice.engine.backbones.BackboneLoader.named`.
    """
    return shared_backbones().named(backbone)[0].info
