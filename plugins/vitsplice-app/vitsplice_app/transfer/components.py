"""Components of the tab Transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from vitsplice.presets import loading
from vitsplice_app.choices import about_backbone, about_preset, backbone_choices, preset_choices
from vitsplice_app.dropdowns import described_dropdown
from vitsplice_app.errors import error_card
from vitsplice_app.events import IMMEDIATE, disable_gradio_check, stop_button
from vitsplice_app.images import files_input, image_inputs
from vitsplice_app.masks import mask_input
from vitsplice_app.transfer.form import AS_IN_PRESET, Sliders, preset_yaml
from vitsplice_app.workspace import Workspace

PRESET = "quick"
"""Preset that the form has when the page is opened."""

REPEAT = (
    "Unzip the download, and use the command line or the Python code in the unzipped folder. "
    "Both repeat the entire run from the first step, even if this run was stopped."
)

MASKS = (
    "The output differs from the structure image only where the structure mask is white. "
    "Of the appearance image, only the region where the appearance mask is white is used."
)

REGIONS = (
    "For each image, give a PNG image of the same size in which each region has a colour of its own. A region of the "
    "structure image takes its appearance only from the region of the same colour in an appearance image."
)

MAX_SIZE, MAX_SEED = 2048, 9999
"""Maxima of the sliders Size (pixels) and Seed; a larger value in a preset raises the maximum."""

DIVIDE = "(percent) => ({__type__: 'update', slider_position: percent})"
"""Script that moves the divider of the result to the position of the slider below, in %."""

FOLLOW_DIVIDER = """() => addEventListener("pointerdown", ({target}) => {
    const frame = target.closest(".divided .slider-wrap");
    if (frame) addEventListener("pointerup", () => {
        const image = [...frame.querySelectorAll("img")].at(-1);
        const slider = document.querySelector(".divider input[type=range]");
        const divided = parseFloat(image.style.clipPath.split(" ").at(-1)) / 100;
        const [outer, inner] = [frame, image].map((element) => element.getBoundingClientRect());
        slider.value = 100 * (inner.left + divided * inner.width - outer.left) / outer.width;
        slider.dispatchEvent(new Event("input", {bubbles: true}));
    }, {once: true});
})"""
"""Script that moves the slider below the result when the mouse has moved the divider."""


@dataclass(frozen=True)
class Controls:
    """Components of the form, the verdict on the YAML, and the buttons Run, Stop and Resume."""

    structure: gr.Image
    appearance: gr.Image
    masks: gr.Checkbox
    editors: gr.Row
    structure_mask: gr.ImageEditor
    appearance_mask: gr.ImageEditor
    others: gr.File
    structure_labels: gr.File
    appearance_labels: gr.File
    preset: gr.Dropdown
    backbone: gr.Dropdown
    structure_strength: gr.Slider
    appearance_strength: gr.Slider
    steps: gr.Slider
    size: gr.Slider
    seed: gr.Slider
    yaml: gr.Code
    verdict: gr.HTML
    run: gr.Button
    stop: gr.Button
    resume: gr.Button

    @classmethod
    def build(cls, workspace: Workspace) -> Controls:
        """Create the components in the current column."""
        images = [*_images(workspace), *_several()]
        preset = gr.Dropdown(preset_choices(), value=PRESET, label="Preset", info=about_preset(PRESET))
        backbones = [(AS_IN_PRESET, AS_IN_PRESET), *backbone_choices()]
        backbone = described_dropdown(backbones, AS_IN_PRESET, "Backbone", _about_replacement, allow_custom_value=True)
        sliders = _sliders(Sliders.of(loading.load(preset_yaml(PRESET), PRESET)))
        with gr.Accordion("Advanced: the preset as YAML", open=False):
            yaml = gr.Code(preset_yaml(PRESET), language="yaml", label="YAML", lines=12, max_lines=24)
            verdict = error_card()
        with gr.Row(elem_classes="actions"):
            run = gr.Button("Run", variant="primary", min_width=80)
            stop = stop_button()
            resume = gr.Button("Resume", interactive=False, min_width=80)
        components: list[Any] = [*images, preset, backbone, *sliders, yaml, verdict, run, stop, resume]
        return cls(*components)

    @property
    def sliders(self) -> list[gr.Slider]:
        """The sliders, in the order of the updates of `slider_updates`."""
        return [self.structure_strength, self.appearance_strength, self.steps, self.size, self.seed]


def slider_updates(values: Sliders) -> list[Any]:
    """Return the updates that set the sliders to values of a preset, in the order of `Controls.sliders`."""
    maximum: dict[str, Any] = {"maximum": values.max_steps} if values.max_steps else {}
    return [
        values.structure_strength,
        values.appearance_strength,
        gr.update(value=values.steps, interactive=values.max_steps > 0, **maximum),
        gr.update(maximum=max(MAX_SIZE, values.size), value=values.size),
        gr.update(maximum=max(MAX_SEED, values.seed), value=values.seed),
    ]


def _about_replacement(backbone: str) -> str:
    if backbone == AS_IN_PRESET:
        return "Another choice replaces the first backbone of the preset. You can also type the name of any timm model."
    return about_backbone(backbone)


def _images(workspace: Workspace) -> list[Any]:
    structure, appearance = image_inputs(workspace, "Structure image", "Appearance image", min_width=150)
    masks = gr.Checkbox(label="Paint masks", info=MASKS)
    with gr.Row(visible=False) as editors:
        structure_mask = mask_input("Structure mask", height=320, min_width=320)
        appearance_mask = mask_input("Appearance mask", height=320, min_width=320)
    return [structure, appearance, masks, editors, structure_mask, appearance_mask]


def _several() -> list[gr.File]:
    with gr.Accordion("More appearance images, regions", open=False):
        others = files_input("More appearance images", multiple=True)
        gr.Markdown(REGIONS)
        structure = files_input("Regions of the structure image")
        appearance = files_input("Regions of each appearance image, in order", multiple=True)
    return [others, structure, appearance]


def _sliders(values: Sliders) -> list[gr.Slider]:
    with gr.Row():
        structure = gr.Slider(0, 10, values.structure_strength, step=0.1, label="Structure strength", min_width=150)
        appearance = gr.Slider(0, 10, values.appearance_strength, step=0.1, label="Appearance strength", min_width=150)
    with gr.Row():
        steps = gr.Slider(0, values.max_steps, values.steps, step=1, label="Steps", min_width=150)
        seed = gr.Slider(0, MAX_SEED, values.seed, step=1, label="Seed", min_width=150)
    size = gr.Slider(0, MAX_SIZE, values.size, step=16, label="Size: shorter side in pixels (0: unchanged)")
    sliders = [structure, appearance, steps, size, seed]
    for slider in sliders:
        disable_gradio_check(slider)
    return sliders


@dataclass(frozen=True)
class Results:
    """Components for errors, for the state of the current run, and for the runs that have ended."""

    card: gr.HTML
    live: gr.HTML
    area: gr.Column
    heading: gr.Markdown
    notes: gr.HTML
    slider: gr.ImageSlider
    divider: gr.Slider
    gallery: gr.Gallery
    download: gr.DownloadButton
    metrics: gr.HTML
    loss_area: gr.Accordion
    losses: gr.HTML
    command: gr.Code
    code: gr.Code
    settings: gr.Code

    @classmethod
    def build(cls) -> Results:
        """Create the components in the current column."""
        card = error_card()
        live = gr.HTML("<p>The output appears here.</p>", elem_classes="live-run")
        with gr.Column(visible=False) as area:
            heading = gr.Markdown()
            notes = gr.HTML(elem_classes="result")
            slider = gr.ImageSlider(
                label="structure image | output",
                max_height=560,
                interactive=False,
                format="png",
                elem_classes="divided",
            )
            divider = gr.Slider(
                0, 100, 50, step=1, label="Divider between the two images, in %", buttons=[], elem_classes="divider"
            )
            gr.on(None, None, js=FOLLOW_DIVIDER, **IMMEDIATE)
            divider.input(None, divider, slider, js=DIVIDE, **IMMEDIATE)
            gallery = gr.Gallery(
                label="Runs: click one, then another to compare",
                columns=4, fit_columns=False, height=180, allow_preview=False, interactive=False, buttons=[],
            )  # fmt: skip
            download = gr.DownloadButton("Download everything (zip)")
            metrics = gr.HTML(elem_classes="run-tables")
            with gr.Accordion("Losses", open=False) as loss_area:
                losses = gr.HTML(elem_classes="run-tables")
            with gr.Accordion("As command line, as Python", open=False):
                gr.Markdown(REPEAT)
                command = gr.Code(
                    language="shell", label="Command line", interactive=False, wrap_lines=True, lines=1, max_lines=8
                )
                code = gr.Code(
                    language="python", label="Python", interactive=False, wrap_lines=True, lines=1, max_lines=16
                )
            with gr.Accordion("Settings", open=False):
                settings = gr.Code(language="yaml", label="run.yaml", interactive=False, max_lines=24)
        outcome = (heading, notes, slider, divider, gallery, download, metrics, loss_area, losses)
        return cls(card, live, area, *outcome, command, code, settings)
