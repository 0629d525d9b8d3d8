"""Loss terms: pure functions, terms for presets, and modules for somebody else's training loop.

The modules are those of `vitsplice.loss_modules`, which evaluates terms as the engine does.
Importing this loads nothing; the names below are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitsplice.loss_modules import (
        AppearanceLoss,
        FeatureLoss,
        IdentityLoss,
        PresetLoss,
        StructureLoss,
        from_preset,
    )
    from vitsplice.losses.functional import appearance_loss, identity_loss, self_similarity, structure_loss

__all__ = [
    "AppearanceLoss",
    "FeatureLoss",
    "IdentityLoss",
    "PresetLoss",
    "StructureLoss",
    "appearance_loss",
    "from_preset",
    "identity_loss",
    "self_similarity",
    "structure_loss",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'vitsplice.losses' has no attribute '{name}'")
    home = "losses.functional" if name.islower() and name != "from_preset" else "loss_modules"
    return getattr(import_module(f"vitsplice.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
