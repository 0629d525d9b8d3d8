"""Layout of the tab Look inside: the tabs Layers, Inversion and Comparison."""

from __future__ import annotations

import gradio as gr

from vitsplice_app.context import AppContext
from vitsplice_app.inside import comparison_tab, inversion_tab, layers_tab

TABS = {"Layers": layers_tab.build, "Inversion": inversion_tab.build, "Comparison": comparison_tab.build}


def build(context: AppContext) -> None:
    """Build the tab inside the current ``gr.Tab``."""
    with gr.Tabs():
        for name, build_tab in TABS.items():
            with gr.Tab(name):
                build_tab(context)
