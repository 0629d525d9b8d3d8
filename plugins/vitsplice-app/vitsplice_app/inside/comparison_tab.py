"""Layout and events of the tab Comparison."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from vitsplice_app.choices import backbone_choices, default_backbone
from vitsplice_app.context import AppContext
from vitsplice_app.errors import error_card, guarded
from vitsplice_app.events import IMMEDIATE, Work, connect_start_and_stop, disable_gradio_check, stop_button
from vitsplice_app.images import check_images, packaged_images
from vitsplice_app.inside.comparison import compare, comparison_plan, folder_of, with_short_names
from vitsplice_app.live import Progress

INTRODUCTION = (
    "What backbones encode as structure and as appearance, layer by layer: how much their features change under known "
    "transforms of your images. To resume a stopped comparison, press Compare with the same images and settings."
)

BACKBONES = "One or more. You can type the name of any timm model; untrained-NAME has random weights, as a control."

STOPPED = (
    "<p>Stopped. Press Compare with the same images and settings to resume; finished parts are not computed again.</p>"
)

Updates = dict[Any, Any]


def build(context: AppContext) -> None:
    """Build the tab inside the current ``gr.Tab``."""
    gr.Markdown(INTRODUCTION)
    with gr.Row():
        with gr.Column(min_width=280):
            images = gr.Gallery(
                label="Images, two or more", type="filepath", interactive=True, columns=3, fit_columns=False,
                height=360,
                sources=["upload", "clipboard"], object_fit="contain",
            )  # fmt: skip
            packaged = gr.Button("Take the packaged photographs", size="sm")
        with gr.Column(min_width=280):
            backbones = gr.Dropdown(
                backbone_choices(), value=[default_backbone()], multiselect=True, allow_custom_value=True,
                label="Backbones", info=BACKBONES,
            )  # fmt: skip
            style = gr.Checkbox(
                True,
                label="Also compare under a change of style",
                info="Each image with the appearance of the next one",
            )
            with gr.Row():
                transfers = gr.Slider(0, 4, 0, step=1, label="Transfers with each backbone", min_width=120)
                steps = gr.Slider(1, 400, 120, step=1, label="Steps of a transfer", min_width=120)
                for slider in (transfers, steps):
                    disable_gradio_check(slider)  # otherwise an empty box would fail outside the handler
            with gr.Row(elem_classes="actions"):
                button = gr.Button("Compare", variant="primary", min_width=80)
                stop = stop_button()
    with gr.Column(elem_classes="outcome"):
        card, live = error_card(), gr.HTML("<p>The report appears here.</p>", elem_classes="live-run")
        report = gr.HTML(elem_classes="result", padding=False)

    def run(work: Work, chosen: list[tuple[str, Any]] | None, *values: Any) -> Iterator[Updates]:
        from vitsplice.analysis.compare import REPORT  # takes seconds: it imports the compiler of torch

        runs = context.workspace.runs
        plan = comparison_plan(with_short_names([path for path, _ in chosen or []], runs), *values)
        folder = folder_of(plan, runs)
        yield {live: Progress("loading the backbones").html(), report: ""}
        for state in compare(plan, folder, lambda: work.stopped):
            if isinstance(state, Progress):
                yield {live: state.html()}
            else:
                yield {report: context.frames.html(folder, REPORT, "What backbones encode")}
                return
        yield {report: STOPPED}

    def check(chosen: list[tuple[str, Any]] | None) -> None:
        check_images([path for path, _ in chosen or []])

    images.change(guarded(card, check), images, card, trigger_mode="always_last", **IMMEDIATE)
    packaged.click(lambda: packaged_images(context.workspace), None, images, **IMMEDIATE)
    inputs = [images, backbones, transfers, steps, style]
    connect_start_and_stop(button, stop, guarded(card, run), inputs, [card, live, report], live)
