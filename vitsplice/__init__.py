"""vitsplice: feature losses. The structure of one image, the appearance of another.

Importing this does nothing else; the names below are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitsplice.api import Run, load_backbone, settings_for, splice
    from vitsplice.config import RunConfig
    from vitsplice.errors import VitspliceError
    from vitsplice.runs.result import Result

__all__ = ["Result", "Run", "RunConfig", "VitspliceError", "load_backbone", "settings_for", "splice"]

_HOMES = {
    "Result": "vitsplice.runs.result",
    "Run": "vitsplice.api",
    "RunConfig": "vitsplice.config",
    "VitspliceError": "vitsplice.errors",
    "load_backbone": "vitsplice.api",
    "settings_for": "vitsplice.api",
    "splice": "vitsplice.api",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'vitsplice' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
