"""Colours, fonts and spacing of the page, in light and dark. Fonts are those of the system: nothing is downloaded."""

from __future__ import annotations

from importlib.resources import files

import gradio as gr
from gradio.themes.utils import fonts

SANS = ("ui-sans-serif", "system-ui", "sans-serif")
MONO = ("ui-monospace", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """Return the theme."""
    base = gr.themes.Default(
        primary_hue="indigo",
        secondary_hue="indigo",
        neutral_hue="slate",
        font=[fonts.Font(name) for name in SANS],
        font_mono=[fonts.Font(name) for name in MONO],
    )
    return base.set(
        body_text_color_subdued="*neutral_500",
        block_info_text_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        link_text_color_dark="*primary_300",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_cancel_background_fill="#dc2626",
        button_cancel_background_fill_hover="#b91c1c",
    )


def css() -> str:
    """Return the style sheet."""
    return (files("vitsplice_app") / "style.css").read_text(encoding="utf-8")
