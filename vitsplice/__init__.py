"""Feature losses: generate an image with the structure of one image and the appearance of another.

The names below are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitsplice.analysis.auto_regions import propose_regions
    from vitsplice.api import Run, load_backbone, settings_for, splice
    from vitsplice.config import RunConfig
    from vitsplice.engine.backbones import BackboneCache
    from vitsplice.errors import VitspliceError
    from vitsplice.models.loading import load_model
    from vitsplice.runs.inputs import Region
    from vitsplice.runs.result import Result

__all__ = [
    "BackboneCache",
    "Region",
    "Result",
    "Run",
    "RunConfig",
    "VitspliceError",
    "load_backbone",
    "load_model",
    "propose_regions",
    "settings_for",
    "splice",
]

_MODULES = {
    "BackboneCache": "vitsplice.engine.backbones",
    "Region": "vitsplice.runs.inputs",
    "Result": "vitsplice.runs.result",
    "Run": "vitsplice.api",
    "RunConfig": "vitsplice.config",
    "VitspliceError": "vitsplice.errors",
    "load_backbone": "vitsplice.api",
    "load_model": "vitsplice.models.loading",
    "propose_regions": "vitsplice.analysis.auto_regions",
    "settings_for": "vitsplice.api",
    "splice": "vitsplice.api",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module 'vitsplice' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
