"""Layout and events of the tab Transfer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from vitsplice.errors import UserError, VitspliceError
from vitsplice_app.choices import about_preset
from vitsplice_app.context import AppContext
from vitsplice_app.errors import card_html, guarded
from vitsplice_app.events import IMMEDIATE, connect_start, connect_stop, stop_button_update
from vitsplice_app.guard import FULL, has_room
from vitsplice_app.images import check_uploads
from vitsplice_app.live import Progress
from vitsplice_app.masks import painted_mask
from vitsplice_app.transfer import outcome, running
from vitsplice_app.transfer.components import Controls, Results, slider_updates
from vitsplice_app.transfer.form import Sliders, form_settings, preset_yaml, read_yaml
from vitsplice_app.transfer.history import Session, TransferRun
from vitsplice_app.transfer.several import several_sources

DISABLED = "() => ({__type__: 'update', interactive: false})"
"""Script that disables a button."""

HIDDEN = "() => ({__type__: 'update', visible: false})"
"""Script that hides a component."""

Updates = dict[Any, Any]


def run_button_update(session: Session) -> Any:
    """Return the update of the button Run, which cannot be pressed while a run of the page runs or waits."""
    return gr.update(interactive=not session.running)


def build(context: AppContext) -> None:
    """Build the tab inside the current ``gr.Tab``."""
    with gr.Row():
        with gr.Column(min_width=320):
            controls = Controls.build(context.workspace)
        with gr.Column(min_width=320, elem_classes="outcome"):
            results = Results.build()
    events = Events(context, controls, results)
    session = gr.State(Session(), delete_callback=partial(remove_runs, context.workspace.files))
    file_inputs = controls.others, controls.structure_labels, controls.appearance_labels
    check_uploads(results.card, controls.structure, controls.appearance, *file_inputs)
    events.connect_form(session)
    events.connect_runs(session)


def remove_runs(files: Path, session: Session) -> None:
    """Remove the folders of the runs of a page, and their zip files in the folder ``files``."""
    for run in session.runs:
        shutil.rmtree(run.path, ignore_errors=True)
        outcome.zip_path(run, files).unlink(missing_ok=True)


@dataclass(frozen=True)
class Events:
    """Functions that the events of the tab call, and the connection of the events with them."""

    context: AppContext
    controls: Controls
    results: Results

    def connect_form(self, session: gr.State) -> None:
        """Connect the events of the form.

        After a change of preset or YAML, the button Run is disabled until a check of the form ends. After two quick
        changes, Run may be enabled while the second one is still being checked.
        """
        controls, card = self.controls, self.results.card
        updated_by_check = [controls.run, controls.verdict, *controls.sliders]
        for source in (controls.preset, controls.yaml):
            source.input(None, None, controls.run, js=DISABLED, **IMMEDIATE)
        controls.preset.input(
            self.choose_preset, [session, controls.preset], [controls.preset, controls.yaml, *updated_by_check],
            trigger_mode="always_last", **IMMEDIATE,
        )  # fmt: skip
        controls.yaml.input(
            guarded(card, self.check_yaml), [session, controls.preset, controls.yaml], [card, *updated_by_check],
            trigger_mode="always_last", **IMMEDIATE,
        )  # fmt: skip
        controls.run.click(None, None, controls.verdict, js=HIDDEN, **IMMEDIATE)  # the run reports the same error
        images = [controls.structure, controls.appearance]
        editors = [controls.structure_mask, controls.appearance_mask]
        shown = [card, controls.editors, *editors]
        controls.masks.change(self.show_editors, [controls.masks, *images], shown, **IMMEDIATE)
        for image, editor in zip(images, editors, strict=True):  # a guarded handler would hide the error of an upload
            image.change(self.unpainted, [controls.masks, image], editor, **IMMEDIATE)

    def connect_runs(self, session: gr.State) -> None:
        """Connect the buttons Run, Stop and Resume, and the clicks on runs that have ended."""
        controls, results = self.controls, self.results
        buttons = [controls.run, controls.stop, controls.resume]
        form = [
            *(controls.structure, controls.appearance, controls.structure_mask, controls.appearance_mask),
            *(controls.others, controls.structure_labels, controls.appearance_labels),
            *(controls.preset, controls.yaml, controls.backbone, *controls.sliders),
        ]
        shown_results = [component for name, component in vars(results).items() if name != "card"]
        for button, other, handler, inputs in (
            (controls.run, controls.resume, self.begin, form),
            (controls.resume, controls.run, self.resume, []),
        ):
            connect_start(
                button, [other], controls.stop, guarded(results.card, handler), [session, *inputs],
                [results.card, results.live], results.live, self.show, [*buttons, *shown_results],
            )  # fmt: skip
        connect_stop(controls.stop, session)
        results.gallery.select(
            guarded(results.card, self.choose),
            session,
            [results.card, *buttons, *shown_results],
            **IMMEDIATE,
        )

    def choose_preset(self, session: Session, preset: str) -> list[Any]:
        """Return the updates that show the summary, the YAML and the values of a preset.

        If the preset cannot be used, they show the error, and the sliders are not changed; if its file cannot be read,
        the YAML is empty.
        """
        summary = gr.update(info=about_preset(preset))
        try:
            text = preset_yaml(preset)
        except VitspliceError as error:
            return [summary, "", run_button_update(session), *self._refused(error)]
        verdict_and_sliders = self._checked(preset, text, gr.update(visible=False))
        return [summary, text, run_button_update(session), *verdict_and_sliders]

    def check_yaml(self, session: Session, preset: str, text: str) -> tuple[Any, ...]:
        """Check the YAML, and show its values; if the YAML is invalid, show the error that a run would end with."""
        verdict_and_sliders = self._checked(preset, text, gr.update(value="<p>valid</p>", visible=True))
        return run_button_update(session), *verdict_and_sliders

    def _checked(self, preset: str, text: str, valid: Any) -> tuple[Any, ...]:
        """Return the update of the verdict on the YAML, then the updates of the sliders.

        If the YAML has no error, the update of the verdict is ``valid``; otherwise the sliders are not changed.
        """
        try:
            sliders = Sliders.of(read_yaml(preset, text, self.trusted_folder))
        except VitspliceError as error:
            return self._refused(error)
        return valid, *slider_updates(sliders)

    def _refused(self, error: VitspliceError) -> tuple[Any, ...]:
        """Return the updates that show an error as the verdict on the YAML, and do not change the sliders."""
        return gr.update(value=card_html(error), visible=True), *[gr.skip()] * len(self.controls.sliders)

    def show_editors(self, masks: bool, structure: str | None, appearance: str | None) -> Updates:
        """Show the editors of the masks, each with its image and without paint; hide them if ``masks`` is False.

        If the folder of uploads is full, an error is shown instead: editors upload their images, and repeat a refused
        upload without end.
        """
        if masks and not has_room(self.context.workspace.files):
            return {self.results.card: gr.update(value=card_html(UserError(FULL)), visible=True)}
        return {
            self.controls.editors: gr.update(visible=masks),
            self.controls.structure_mask: self.unpainted(masks, structure),
            self.controls.appearance_mask: self.unpainted(masks, appearance),
        }

    def unpainted(self, masks: bool, image: str | None) -> dict[str, Any] | None:
        """Return the value of a mask's editor: the image without paint.

        It is None if there is no image, the box Paint masks (``masks``) is not ticked, or the folder of uploads is full
        (see `show_editors`).
        """
        if not masks or not image or not has_room(self.context.workspace.files):
            return None
        return {"background": image, "layers": [], "composite": None}

    def begin(
        self, session: Session, structure: str | None, appearance: str | None, structure_mask: bytes | None,
        appearance_mask: bytes | None, others: list[str], structure_labels: list[str], appearance_labels: list[str],
        preset: str, *values: Any,
    ) -> Iterator[Updates]:  # fmt: skip
        """Take the steps of a new run with the values of the form, and yield the updates of the page.

        At the end, the run is added to the history.
        """
        settings = form_settings(self.trusted_folder, preset, *values)
        sources: dict[str, Any] = {
            "structure": structure and Path(structure),
            "appearance": appearance and Path(appearance),
            "structure_mask": structure and painted_mask(structure_mask, structure),
            "appearance_mask": appearance and painted_mask(appearance_mask, appearance),
            **several_sources(others, structure_labels, appearance_labels),
        }
        run = session.new_run(self.context.workspace.new_run(preset), settings, sources)
        yield from self._updates(session, run, running.begin(run, lambda: session.stopped))

    def resume(self, session: Session) -> Iterator[Updates]:
        """Resume the run that was shown when the button was pressed, and yield the updates of the page.

        If two runs were shown, the one that was chosen last is resumed.
        """
        if run := session.shown_at_begin:
            yield from self._updates(session, run, running.resume(run, lambda: session.stopped))

    def _updates(self, session: Session, run: TransferRun, states: Iterator[Progress]) -> Iterator[Updates]:
        """Yield the updates of the page for the states of a run; at the end, add the run to the history."""
        try:
            for state in states:
                yield {self.results.live: gr.update(value=state.html(), visible=True)}
        finally:
            for removed in session.keep(run):
                outcome.zip_path(removed, self.context.workspace.files).unlink(missing_ok=True)

    def choose(self, session: Session, event: gr.SelectData) -> Updates:
        """Show the run of the history that was clicked, alone or compared with another run; see `Session.choose`.

        Raises UserError if the server has removed the runs (`remove_runs`) because the page seemed to be closed.
        """
        runs, _ = session.gallery()
        if not runs:
            raise UserError("the runs of this page were removed because it seemed closed; press Run for a new one")
        session.choose(runs[event.index])
        return self.show(session)

    def show(self, session: Session) -> Updates:
        """Return the updates that show the chosen runs, and enable the buttons that can be pressed."""
        controls, results, runs = self.controls, self.results, session.shown
        can_resume = bool(runs) and not session.running and not runs[-1].folder.finished()
        updates = {
            controls.run: run_button_update(session),
            controls.stop: gr.skip() if session.running else stop_button_update(False),
            controls.resume: gr.update(interactive=can_resume),
            results.live: gr.update(visible=session.running),
            results.area: gr.update(visible=bool(runs)),
        }
        return updates | self._show_runs(session, runs) if runs else updates

    def _show_runs(self, session: Session, runs: list[TransferRun]) -> Updates:
        """Return the updates that show one run, or two that are compared."""
        results, last = self.results, runs[-1]
        images, label = outcome.before_and_after(runs)
        command, code = outcome.repeat_code(last)
        all_runs, chosen = session.gallery()
        download, problems = self._download(last)
        return {
            results.slider: gr.update(value=images, label=label, slider_position=50),
            results.divider: 50,
            results.heading: " against ".join(map(outcome.summary, runs)),
            results.notes: outcome.notes_html([*last.notes, *problems]),
            results.metrics: outcome.metrics_html(runs),
            results.loss_area: gr.update(visible=last.settings.steps > 0),
            results.losses: outcome.losses_html(last),
            results.download: gr.update(value=download, interactive=download is not None),
            results.command: command,
            results.code: code,
            results.settings: outcome.resolved_settings(last),
            results.gallery: gr.update(
                value=[(str(run.folder.output), f"{run.number}: {run.settings.preset}") for run in all_runs],
                selected_index=chosen,
            ),
        }

    def _download(self, run: TransferRun) -> tuple[str | None, list[str]]:
        """Write the zip file of a run, and return its path; if it cannot be written, None and a note for the user."""
        try:
            return str(outcome.zip_run(run, self.context.workspace.files)), []
        except OSError as error:
            reason = error.strerror or error
            return None, [f"no download: the zip file cannot be written: {reason}; click the run below to try again"]

    @property
    def trusted_folder(self) -> Path:
        """Folder that must contain the weights and models that YAML names. It does not exist: YAML can name none."""
        return self.context.workspace.root / "weights"
