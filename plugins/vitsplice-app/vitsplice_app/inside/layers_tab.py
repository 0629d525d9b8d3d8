"""Layout and events of the tab Layers: principal components of every layer, and the similarity to a patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from vitsplice.errors import UserError
from vitsplice_app.choices import LOCAL_FACETS
from vitsplice_app.context import AppContext
from vitsplice_app.dropdowns import backbone_dropdown
from vitsplice_app.errors import error_card, guarded
from vitsplice_app.events import IMMEDIATE, disable_gradio_check
from vitsplice_app.images import check_uploads, image_inputs
from vitsplice_app.inside.layers import BACKBONE_FACET, LayerView, compute, remove_files

INTRODUCTION = (
    "Three principal components of the features of each layer, as red, green and blue: equal colours mean similar "
    "features, also between the two images. Click a patch in a map of the first image to see which patches are similar."
)

FACETS = [BACKBONE_FACET, *LOCAL_FACETS]

SIZES = (224, 672)
"""Range of the shorter side of the backbone's input, in pixels."""

LATEST: dict[str, Any] = IMMEDIATE | {"trigger_mode": "always_last"}
"""Arguments of the events that show another layer or patch.

While such an event is handled, only the latest of the new events waits; the others are dropped.
"""

Updates = dict[Any, Any]


def build(context: AppContext) -> None:
    """Build the tab inside the current ``gr.Tab``."""
    gr.Markdown(INTRODUCTION)
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            images = image_inputs(context.workspace, "Image", "Second image (optional)")
        with gr.Column(min_width=280):
            backbone = backbone_dropdown()
            facet = gr.Dropdown(FACETS, value=BACKBONE_FACET, label="Facet")
            size = gr.Slider(*SIZES, value=336, step=16, label="Shorter side of the backbone's input, in pixels")
            button = gr.Button("Compute all layers", variant="primary")
    card = error_card()
    check_uploads(card, *images)
    view_state: gr.State = gr.State(None, time_to_live=3600, delete_callback=remove_files)
    view_components = _ViewComponents.build()

    def compute_and_show(
        old: LayerView | None, first: str | None, second: str | None, backbone: str, facet: str, size: int
    ) -> Updates:
        new = compute([first, second], backbone, facet, size, context.workspace)
        remove_files(old)
        return {view_state: new} | view_components.show_view(new)

    inputs = [view_state, *images, backbone, facet, size]
    outputs = [card, view_state, *view_components.all()]
    button.click(guarded(card, compute_and_show), inputs, outputs, show_progress_on=button)
    view_components.connect(card, view_state)


@dataclass(frozen=True)
class _ViewComponents:
    """The Gradio components that show a `LayerView`, hidden until the first view is computed."""

    panel: gr.Column
    layer: gr.Slider
    patch_row: gr.Slider
    patch_column: gr.Slider
    maps: list[gr.Image]
    similarities: list[gr.Image]

    @classmethod
    def build(cls) -> _ViewComponents:
        maps, similarities = [], []
        with gr.Column(visible=False) as panel:
            layer = gr.Slider(0, 11, value=11, step=1, label="Layer")
            with gr.Row():
                for name in ("first", "second"):
                    maps.append(_output(f"Components, {name} image"))
                    similarities.append(_output(f"Similarity, {name} image"))
            with gr.Row():
                patch_row = gr.Slider(0, 1, value=0, step=1, label="Row of the patch, from the top")
                patch_column = gr.Slider(0, 1, value=0, step=1, label="Column of the patch, from the left")
        for slider in (layer, patch_row, patch_column):
            disable_gradio_check(slider)
        return cls(panel, layer, patch_row, patch_column, maps, similarities)

    def all(self) -> list[Any]:
        """Return all components."""
        return [self.panel, self.layer, self.patch_row, self.patch_column, *self.maps, *self.similarities]

    def connect(self, card: gr.HTML, view_state: gr.State) -> None:
        """Connect the sliders, and the clicks on both maps of the first image."""
        inputs = [view_state, self.layer, self.patch_row, self.patch_column]
        patch_outputs = [card, *self.similarities]
        layer_outputs = [card, self.layer, *self.maps, *self.similarities]
        self.layer.input(guarded(card, self.show_layer), inputs, layer_outputs, **LATEST)
        for slider in (self.patch_row, self.patch_column):
            slider.input(guarded(card, self.show_patch), inputs, patch_outputs, **LATEST)
        click_outputs = [card, self.patch_row, self.patch_column, *self.similarities]
        for image in (self.maps[0], self.similarities[0]):
            image.select(guarded(card, self.show_clicked_patch), [view_state, self.layer], click_outputs, **LATEST)

    def show_view(self, view: LayerView) -> Updates:
        """Return the updates that show a new view: its last layer, and the patch in the middle."""
        (rows, columns), last = view.grid, len(view.captions) - 1
        row, column = rows // 2, columns // 2
        second = gr.update(visible=len(view.images) > 1)
        return {
            **dict.fromkeys([self.maps[1], self.similarities[1]], second),
            **self.show_layer(view, last, row, column),
            self.panel: gr.update(visible=True),
            self.layer: gr.update(maximum=last, value=last, label=view.captions[last]),
            self.patch_row: gr.update(maximum=rows - 1, value=row),
            self.patch_column: gr.update(maximum=columns - 1, value=column),
        }

    def show_layer(
        self, view: LayerView | None, layer: float | None, row: float | None, column: float | None
    ) -> Updates:
        """Return the updates that show another layer: its maps of principal components, and what `show_patch` shows."""
        view = _existing(view)
        layer = _nearest(layer, len(view.captions))
        maps = dict(zip(self.maps, map(_shown, view.maps[layer]), strict=False))
        return {self.layer: gr.update(label=view.captions[layer])} | maps | self.show_patch(view, layer, row, column)

    def show_patch(
        self, view: LayerView | None, layer: float | None, row: float | None, column: float | None
    ) -> Updates:
        """Return the updates that show the similarity to another patch.

        A number that was typed into the box of a slider may be outside of its range or have a fraction: the nearest
        layer, row and column are used. For an empty box (None), 0 is used.
        """
        view = _existing(view)
        rows, columns = view.grid
        patch = _nearest(row, rows), _nearest(column, columns)
        images = view.similarity(_nearest(layer, len(view.captions)), patch)
        return dict(zip(self.similarities, map(_shown, images), strict=False))

    def show_clicked_patch(self, view: LayerView | None, layer: float | None, click: gr.SelectData) -> Updates:
        """Return the updates that show the similarity to the patch of the first image that was clicked."""
        row, column = _existing(view).patch_at(*click.index)
        return {self.patch_row: row, self.patch_column: column} | self.show_patch(view, layer, row, column)


def _existing(view: LayerView | None) -> LayerView:
    """Return the view. Raise UserError if it is None: Gradio removes a view after an hour."""
    if view is None:
        raise UserError("these layers were removed after an hour; press 'Compute all layers' again")
    return view


def _nearest(value: float | None, count: int) -> int:
    """Return the index below ``count`` that is nearest to the value of a slider; 0 for an empty box."""
    return min(max(round(value or 0), 0), count - 1)


def _output(label: str) -> gr.Image:
    return gr.Image(label=label, interactive=False, buttons=["download", "fullscreen"], min_width=240, format="jpeg")


def _shown(value: Any) -> Any:
    return gr.update(value=value, visible=True)
