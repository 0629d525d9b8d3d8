"""Layout and events of the tab Correspondence."""

from __future__ import annotations

from typing import Any

import gradio as gr

from vitsplice.contracts import layer_label
from vitsplice_app.backbones import backbone_info
from vitsplice_app.choices import LOCAL_FACETS
from vitsplice_app.context import AppContext
from vitsplice_app.correspondence.matching import TOGETHER, match
from vitsplice_app.dropdowns import backbone_dropdown
from vitsplice_app.errors import error_card, guarded
from vitsplice_app.events import IMMEDIATE, SHOW_OUTCOME, disable_gradio_check
from vitsplice_app.images import check_uploads, image_inputs

INTRODUCTION = (
    "Shows which patches of two images have similar features. Match two images, then click a patch of either: the "
    "other image shows how similar its patches are, and the best match."
)

FACETS = [TOGETHER, *LOCAL_FACETS]
"""Choices of the facet while `TOGETHER` is chosen; the backbone, which is not loaded for them, may lack some."""

GRIDS = (8, 64)
"""Range of the number of patches per side."""

ONE_MATCH_AT_A_TIME: dict[str, Any] = {"concurrency_id": "matching", "concurrency_limit": 1}


def build(context: AppContext) -> None:
    """Build the tab inside the current ``gr.Tab``."""
    gr.Markdown(INTRODUCTION)
    with gr.Row():
        with gr.Column(min_width=280):
            images = image_inputs(context.workspace, "First image", "Second image", height=210, min_width=120)
            backbone = backbone_dropdown()
            with gr.Row():
                facet = gr.Dropdown(FACETS, value=TOGETHER, label="Facet", min_width=120)
                layer = gr.Dropdown([("last", -1)], value=-1, label="Layer", min_width=120, visible=False)
            disable_gradio_check(facet)
            disable_gradio_check(layer)
            grid = gr.Slider(*GRIDS, value=40, step=1, label="Patches per side")
            button = gr.Button("Match", variant="primary")
        with gr.Column(scale=3, min_width=320, elem_classes="outcome"):
            card = error_card()
            viewer = gr.HTML("<p>The matches appear here.</p>", padding=False, elem_classes="live-run")
    check_uploads(card, *images)

    def facet_updates(backbone_name: str, chosen_facet: str, chosen_layer: int) -> dict[Any, Any]:
        """Return the updates that show the facets and layers of a backbone.

        A chosen facet that the backbone does not have is replaced by `TOGETHER`, and a chosen layer that it does not
        have by the last layer. If `TOGETHER` is chosen, the layers are hidden and the backbone is not loaded.
        """
        if chosen_facet == TOGETHER:
            return {facet: gr.update(choices=FACETS), layer: gr.update(visible=False)}
        info = backbone_info(backbone_name)
        facets = [TOGETHER, *info.local_facets]
        layers = [(layer_label(number, info.layers), number) for number in info.every_layer]
        chosen_facet = chosen_facet if chosen_facet in facets else TOGETHER
        chosen_layer = chosen_layer if -chosen_layer <= info.layers else -1
        return {
            facet: gr.update(choices=facets, value=chosen_facet),
            layer: gr.update(choices=layers, value=chosen_layer, visible=chosen_facet != TOGETHER),
        }

    def matched(first: str | None, second: str | None, *settings: Any) -> Any:
        return match((first, second), *settings).viewer().frame()

    inputs, outputs = [backbone, facet, layer], [card, facet, layer]
    for choice in (backbone, facet):
        choice.input(guarded(card, facet_updates), inputs, outputs, queue=False, show_progress_on=layer)
    button.click(None, None, None, js=SHOW_OUTCOME, **IMMEDIATE)
    button.click(
        guarded(card, matched), [*images, *inputs, grid], [card, viewer], show_progress_on=viewer, **ONE_MATCH_AT_A_TIME
    )
