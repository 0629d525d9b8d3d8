"""Loss terms: pure functions, terms for presets, and modules for somebody else's training loop.

Importing this loads nothing; the names below are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitsplice.losses.functional import appearance_loss, identity_loss, self_similarity, structure_loss
    from vitsplice.losses.modules import AppearanceLoss, FeatureLoss, IdentityLoss, StructureLoss

__all__ = [
    "AppearanceLoss",
    "FeatureLoss",
    "IdentityLoss",
    "StructureLoss",
    "appearance_loss",
    "identity_loss",
    "self_similarity",
    "structure_loss",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'vitsplice.losses' has no attribute '{name}'")
    home = "modules" if name.endswith("Loss") else "functional"
    return getattr(import_module(f"vitsplice.losses.{home}"), name)
