"""The choice of a backbone, and loaded backbones that executions share."""

from __future__ import annotations

import logging

from comfy import model_management
from comfy_api.latest import io

from vitsplice import BackboneCache
from vitsplice.contracts import Backbone
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import DEFAULT_PRESET

DEFAULT = "default"
"""Choice of what the preset or the backbone declares."""

LOADED = BackboneCache()

log = logging.getLogger(__name__)


def backbone_input() -> io.Combo.Input:
    """Return the input that chooses a backbone of the registry."""
    tooltip = (
        f"{DEFAULT}: that of the preset; in a node without presets, that of {DEFAULT_PRESET}. "
        "`vitsplice list backbones` describes the others."
    )
    return io.Combo.Input("backbone", options=[DEFAULT, *catalogue().backbones], default=DEFAULT, tooltip=tooltip)


def chosen(choice: str) -> str | None:
    """Return a choice, or None for the default."""
    return None if choice == DEFAULT else choice


def device() -> str:
    """Return the device that ComfyUI computes on."""
    return str(model_management.get_torch_device())


def load(choice: str) -> Backbone:
    """Return the backbone of a choice, in float32 on ComfyUI's device; it is loaded once.

    Raises:
        WeightsUnavailable, WeightsRejected: as `vitsplice.load_backbone`.
    """
    backbone, substitution = LOADED.named(chosen(choice), device())
    note(substitution)
    return backbone


def note(*messages: object) -> None:
    """Log the messages that are not None on the terminal of ComfyUI."""
    for message in messages:
        if message is not None:
            log.warning("%s", message)
