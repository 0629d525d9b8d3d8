"""Layout and events of the tab Inversion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from vitsplice_app.context import AppContext
from vitsplice_app.dropdowns import backbone_dropdown
from vitsplice_app.errors import error_card, guarded
from vitsplice_app.events import Work, connect_start_and_stop, stop_button
from vitsplice_app.images import check_uploads, image_inputs
from vitsplice_app.inside.inversion import inversion_plan, invert
from vitsplice_app.live import Progress

INTRODUCTION = (
    "An image optimised to have one feature of your image: it shows what the feature encodes. [CLS] has the appearance "
    "without the layout, keys have the layout."
)

ROLES = [
    ("appearance: [CLS], or the pooled map of a CNN", "appearance"),
    ("structure: keys, or the map of a CNN", "structure"),
]

STEPS = "0: 300 for appearance, 1,000 for structure"

Updates = dict[Any, Any]


def build(context: AppContext) -> None:
    """Build the tab inside the current ``gr.Tab``."""
    gr.Markdown(INTRODUCTION)
    with gr.Row():
        with gr.Column(min_width=320):
            (image,) = image_inputs(context.workspace, "Image to invert")
            roles = gr.CheckboxGroup(ROLES, value=["appearance"], label="Features")
            backbone = backbone_dropdown("Backbone of the features")
            with gr.Row():
                layer = gr.Number(-1, label="Layer", info="0 is the first, -1 the last", min_width=120)
                steps = gr.Number(0, label="Steps", info=STEPS, min_width=120)
            with gr.Row():
                size = gr.Slider(64, 448, 224, step=16, label="Size (px)", min_width=120)
                seed = gr.Number(0, label="Seed", min_width=120)
            with gr.Row(elem_classes="actions"):
                button = gr.Button("Invert", variant="primary", min_width=80)
                stop = stop_button()
        with gr.Column(min_width=320, elem_classes="outcome"):
            card, live = error_card(), gr.HTML("<p>The inversions appear here.</p>", elem_classes="live-run")
            images = gr.Gallery(
                label="Inversions", columns=2, fit_columns=False, height="auto", visible=False, interactive=False,
                object_fit="contain", elem_classes="fitted",
            )  # fmt: skip
    check_uploads(card, image)

    def run(work: Work, *values: Any) -> Iterator[Updates]:
        yield {live: Progress("loading the backbone").html()}
        for progress, outputs in invert(inversion_plan(*values), lambda: work.stopped):
            yield {live: progress.html(), images: gr.update(value=outputs, visible=True)}

    inputs = [image, roles, backbone, layer, steps, size, seed]
    connect_start_and_stop(button, stop, guarded(card, run), inputs, [card, live, images], live)
