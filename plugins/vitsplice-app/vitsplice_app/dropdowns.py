"""Dropdowns of short names; the line below the label describes the chosen name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from vitsplice_app.choices import Choice, about_backbone, backbone_choices, default_backbone
from vitsplice_app.events import IMMEDIATE


def described_dropdown(
    choices: list[Choice], value: str, label: str, about: Callable[[str], str], **settings: Any
) -> gr.Dropdown:
    """Create a dropdown whose line below the label describes the chosen value.

    Args:
        choices: label and value of each choice.
        value: value that is chosen first.
        label: label of the dropdown, also for screen readers.
        about: returns the description of a value.
        settings: other arguments of ``gr.Dropdown``.
    """
    dropdown = gr.Dropdown(choices, value=value, label=label, info=about(value), **settings)
    dropdown.input(lambda chosen: gr.update(info=about(chosen)), dropdown, dropdown, **IMMEDIATE)
    return dropdown


def backbone_dropdown(label: str = "Backbone") -> gr.Dropdown:
    """Create a dropdown of the backbones that plugins list; `default_backbone` is chosen first."""
    return described_dropdown(backbone_choices(), default_backbone(), label, about_backbone)
