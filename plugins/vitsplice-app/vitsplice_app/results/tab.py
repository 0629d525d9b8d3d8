"""Layout and events of the tab Results."""

from __future__ import annotations

import gradio as gr

from vitsplice_app.context import AppContext


def build(context: AppContext) -> None:
    """Build the tab inside the current ``gr.Tab``."""
    gr.Markdown("## Results")
