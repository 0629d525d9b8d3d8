"""Layout and events of the tab Results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from vitsplice_app.context import AppContext
from vitsplice_app.errors import error_card, guarded
from vitsplice_app.events import IMMEDIATE, disable_gradio_check
from vitsplice_app.results import listing

if TYPE_CHECKING:
    from vitsplice.results import StoredResult

Updates = dict[Any, Any]


def build(context: AppContext) -> None:
    """Build the tab inside the current ``gr.Tab``."""
    summary = gr.Markdown()
    results: gr.State = gr.State([])
    choice = gr.Radio([], label="Results", visible=False, elem_classes="result-list")
    # After a restart the server has no choices yet: Gradio would reject a value of a page that was opened before, and
    # fail outside of the handler.
    disable_gradio_check(choice)
    refresh = gr.Button("Refresh the list", size="sm", visible=context.folder is not None)
    card = error_card()
    page = gr.HTML(elem_classes="result", padding=False, apply_default_css=False)
    images = gr.Gallery(
        label="Latest outputs", columns=3, fit_columns=False, height="auto", visible=False, interactive=False,
        object_fit="contain", elem_classes="fitted",
    )  # fmt: skip

    def scan(chosen: str | None = None) -> Updates:
        stored: list[StoredResult] = []
        if context.folder:
            from vitsplice.results import find_results  # takes seconds: it imports the compiler of torch

            stored = find_results(context.folder)
        labels = {listing.key(result): listing.label(result) for result in stored}
        chosen = chosen if chosen in labels else None
        choices = gr.update(choices=[(label, key) for key, label in labels.items()], value=chosen, visible=bool(labels))
        updates = {summary: listing.summary(context.folder, stored), results: stored, choice: choices}
        no_result = {page: "", images: gr.update(value=None, visible=False)}
        return updates | (open_result(stored, chosen) if chosen else no_result)

    def open_result(stored: list[StoredResult], chosen: str | None) -> Updates:
        view = listing.show(listing.choose(stored, chosen), context.frames)
        return {page: view.html, images: gr.update(value=list(view.images), visible=bool(view.images))}

    outputs = [card, summary, results, choice, page, images]
    gr.on(fn=guarded(card, scan), outputs=outputs, **IMMEDIATE)  # without triggers, it runs when the page is opened
    refresh.click(guarded(card, scan), choice, outputs, **IMMEDIATE)
    choice.input(guarded(card, open_result), [results, choice], [card, page, images], **IMMEDIATE)
