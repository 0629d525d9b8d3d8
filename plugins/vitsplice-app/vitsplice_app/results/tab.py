"""Layout and events of the tab Results."""

from __future__ import annotations

from typing import Any

import gradio as gr

from vitsplice.results import StoredResult, find_results
from vitsplice_app.context import AppContext
from vitsplice_app.errors import error_card, guarded
from vitsplice_app.events import IMMEDIATE, disable_gradio_check
from vitsplice_app.results import listing

Updates = dict[Any, Any]


def build(context: AppContext) -> None:
    """Build the tab inside the current ``gr.Tab``."""
    summary = gr.Markdown()
    results: gr.State = gr.State([])
    choice = gr.Radio([], label="Results", visible=False, elem_classes="result-list")
    disable_gradio_check(choice)  # of a choice that was listed before a restart, which would fail outside the handler
    refresh = gr.Button("Refresh the list", size="sm", visible=context.folder is not None)
    card = error_card()
    page = gr.HTML(elem_classes="result", padding=False, apply_default_css=False)
    images = gr.Gallery(
        label="Latest outputs", columns=3, fit_columns=False, height="auto", visible=False, interactive=False,
        object_fit="contain", elem_classes="fitted",
    )  # fmt: skip

    def scan(chosen: str | None = None) -> Updates:
        found = find_results(context.folder) if context.folder else []
        labels = {listing.key(result): listing.label(result) for result in found}
        kept = chosen if chosen in labels else None
        listed = gr.update(choices=[(label, key) for key, label in labels.items()], value=kept, visible=bool(labels))
        values = {summary: listing.summary(context.folder, found), results: found, choice: listed}
        return values | (open_result(found, kept) if kept else {page: "", images: gr.update(value=None, visible=False)})

    def open_result(found: list[StoredResult], chosen: str | None) -> Updates:
        view = listing.show(listing.choose(found, chosen), context.frames)
        return {page: view.html, images: gr.update(value=list(view.images), visible=bool(view.images))}

    outputs = [card, summary, results, choice, page, images]
    gr.on(fn=guarded(card, scan), outputs=outputs, **IMMEDIATE)  # without triggers: when the page is opened
    refresh.click(guarded(card, scan), choice, outputs, **IMMEDIATE)
    choice.input(guarded(card, open_result), [results, choice], [card, page, images], **IMMEDIATE)
