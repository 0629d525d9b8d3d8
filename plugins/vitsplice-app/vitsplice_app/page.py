"""The page: a header and the tabs."""

from __future__ import annotations

import gradio as gr

from vitsplice_app.context import AppContext
from vitsplice_app.correspondence import tab as correspondence
from vitsplice_app.inside import tab as inside
from vitsplice_app.results import tab as results
from vitsplice_app.transfer import tab as transfer

TITLE = "vitsplice"
LEAD = "The structure of one image, the appearance of another, both measured inside frozen vision networks."

SPOKEN = {"common.complete": "Complete"}
"""Texts for screen readers that Gradio uses but does not define, each by its key."""

TABS = {
    "Transfer": transfer.build,
    "Correspondence": correspondence.build,
    "Look inside": inside.build,
    "Results": results.build,
}


def build_page(context: AppContext) -> gr.Blocks:
    """Build the page with all tabs."""
    page = gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True)
    with page:
        gr.Markdown(f"# {TITLE}\n{LEAD}", elem_classes="title")
        with gr.Tabs():
            for name, build in TABS.items():
                with gr.Tab(name, id=name):
                    build(context)
    page.queue(default_concurrency_limit=4, max_size=32)
    return page
