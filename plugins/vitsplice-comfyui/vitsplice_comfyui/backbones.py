"""The input that chooses a backbone, and the cache of loaded backbones."""

from __future__ import annotations

import logging

from comfy import model_management
from comfy_api.latest import io

from vitsplice import BackboneCache
from vitsplice.contracts import Backbone
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import DEFAULT_PRESET

DEFAULT = "default"
"""Choice that stands for the default backbone or, in the input ``facet``, for the backbone's facet for structure."""

LOADED = BackboneCache()
"""Recently used backbones, which all nodes share."""

log = logging.getLogger(__name__)


def backbone_input() -> io.Combo.Input:
    """Return the input that chooses one of the backbones that plugins list, or `DEFAULT`."""
    tooltip = (
        f"{DEFAULT}: the backbone of the preset; in a node without presets, that of {DEFAULT_PRESET}. "
        "The command `vitsplice list backbones` describes the other choices."
    )
    return io.Combo.Input("backbone", options=[DEFAULT, *catalogue().backbones], default=DEFAULT, tooltip=tooltip)


def none_if_default(choice: str) -> str | None:
    """Return a choice, or None for `DEFAULT`."""
    return None if choice == DEFAULT else choice


def device() -> str:
    """Return the device that ComfyUI computes on."""
    return str(model_management.get_torch_device())


def load(choice: str) -> Backbone:
    """Return the backbone of a choice, in float32 on ComfyUI's device, from the cache `LOADED`.

    For `DEFAULT`, a fallback may be returned instead; this is logged.

    Raises:
        UserError, WeightsUnavailable: see `vitsplice.BackboneCache.named`.
    """
    backbone, substitution = LOADED.named(none_if_default(choice), device())
    note(substitution)
    return backbone


def note(*messages: object) -> None:
    """Log each message that is not None as a warning, which ComfyUI shows on its terminal."""
    for message in messages:
        if message is not None:
            log.warning("%s", message)
