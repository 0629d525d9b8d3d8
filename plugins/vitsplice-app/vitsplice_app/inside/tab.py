"""Layout and events of the tab Look inside."""

from __future__ import annotations

import gradio as gr

from vitsplice_app.context import AppContext


def build(context: AppContext) -> None:
    """Build the tab inside the current ``gr.Tab``."""
    gr.Markdown("## Look inside")
