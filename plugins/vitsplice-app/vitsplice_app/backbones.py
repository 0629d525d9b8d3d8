"""Loaded backbones, shared by all tabs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitsplice.contracts import Backbone
    from vitsplice.engine.backbones import BackboneCache


@cache
def shared_backbones() -> BackboneCache:
    """Return the cache of this process. Calls of one backbone by several tabs at once are safe."""
    from vitsplice.engine.backbones import BackboneCache

    return BackboneCache()


def loaded_backbone(name: str) -> Backbone:
    """Return a backbone by name, in float32 on the device of a run. Raises as `vitsplice.load_backbone`."""
    from vitsplice import settings_for
    from vitsplice.engine.device import pick_device
    from vitsplice.plugins import catalogue

    backbone, _ = shared_backbones().load(
        settings_for(backbone=name).backbone, catalogue(), pick_device("auto"), "float32"
    )
    return backbone
