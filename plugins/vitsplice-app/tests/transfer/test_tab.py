"""Events of the tab Transfer and the updates that they return, without a browser."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest
from vitsplice_app import guard
from vitsplice_app.context import AppContext
from vitsplice_app.images import check_images
from vitsplice_app.transfer import form, tab
from vitsplice_app.transfer.components import Results

from vitsplice.errors import ImageError, UserError
from vitsplice.plugins import catalogue


@pytest.fixture
def events(workspace):
    results = SimpleNamespace(**{name: name for name in Results.__annotations__})
    controls = {name: name for name in ("editors", "structure_mask", "appearance_mask")}
    return tab.Events(AppContext(workspace), SimpleNamespace(sliders=range(5), **controls), results)


@pytest.fixture
def page(build_page, workspace):
    return build_page(lambda: tab.build(AppContext(workspace)))


@pytest.fixture
def ended_run(session, new_run):
    """A run that has a record and was added to the session."""
    run = new_run()
    (run.path / "run.json").write_text("{}")
    session.keep(run)
    return run


def test_preset_that_cannot_be_used_shows_its_yaml_and_the_error(events, session, monkeypatch):
    monkeypatch.setattr(tab, "preset_yaml", lambda name: "steps: gone")
    summary, text, run_button, verdict, *sliders = events.choose_preset(session, "instant")
    assert summary["info"].startswith("seconds, no optimisation")
    assert text == "steps: gone"
    assert run_button["interactive"]
    assert verdict["visible"]
    assert "&#x27;gone&#x27; is not allowed" in verdict["value"]
    assert len(sliders) == 5


def test_preset_without_its_file_shows_the_error_and_enables_the_button_run(events, session, monkeypatch, tmp_path):
    presets = {"instant": replace(catalogue().presets["instant"], path=tmp_path / "gone.yaml")}
    monkeypatch.setattr(form, "catalogue", lambda: SimpleNamespace(presets=presets))
    _, text, run_button, verdict, *sliders = events.choose_preset(session, "instant")
    assert text == ""
    assert run_button["interactive"]
    assert "gone.yaml does not exist" in verdict["value"]
    assert len(sliders) == 5


def test_new_preset_or_yaml_does_not_enable_the_button_run_while_a_run_runs(events, session):
    session.begin()
    _, text, run_button, *_ = events.choose_preset(session, "instant")
    assert run_button["interactive"] is False
    assert events.check_yaml(session, "instant", text)[0]["interactive"] is False


def test_run_shown_at_the_click_on_resume_is_resumed_although_another_is_chosen_meanwhile(
    events, session, new_run, monkeypatch
):
    for _ in range(2):
        run = new_run()
        (run.path / "run.json").write_text("{}")
        session.keep(run)
    resumed = []
    monkeypatch.setattr(tab.running, "resume", lambda run, stopped: iter(resumed.append(run) or ()))
    session.begin()
    session.choose(session.runs[0])
    assert list(events.resume(session)) == []
    assert [run.number for run in resumed] == [2]


def test_run_whose_zip_file_cannot_be_written_is_shown_with_its_notes(events, session, ended_run, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    ended_run.notes.append("no checkpoint")
    for name in ("summary", "metrics_html", "losses_html", "resolved_settings"):
        monkeypatch.setattr(tab.outcome, name, lambda run: "")
    monkeypatch.setattr(tab.outcome, "before_and_after", lambda runs: ((), ""))
    monkeypatch.setattr(tab.outcome, "zip_run", full_disk)
    updates = events._show_runs(session, [ended_run])
    assert updates["download"]["value"] is None
    assert not updates["download"]["interactive"]
    assert "no checkpoint</p>" in updates["notes"]
    assert "zip file cannot be written: No space left on device; " in updates["notes"]


@pytest.mark.slow
def test_runs_of_a_page_that_was_closed_are_removed(page, workspace, session, ended_run):
    download = tab.outcome.zip_run(ended_run, workspace.files)
    (state,) = [block for block in page.blocks.values() if isinstance(getattr(block, "value", None), tab.Session)]
    state.delete_callback(session)
    assert not ended_run.path.exists()
    assert not download.exists()
    # Gradio calls `delete_callback` only for states that an event has updated: Run and Resume update this one.
    assert sum(state in function.inputs and state in function.outputs for function in page.fns.values()) == 2


def test_click_on_a_removed_run_is_explained(events, session):
    with pytest.raises(UserError, match="runs of this page were removed"):
        events.choose(session, SimpleNamespace(index=0))


@pytest.mark.slow
def test_all_inputs_for_files_are_checked_when_one_changes(page):
    (check,) = [function for function in page.fns.values() if function.fn and function.name == "check_images"]
    labels = [component.label for component in check.inputs]
    assert labels == [
        "Structure image",
        "Appearance image",
        "More appearance images",
        "Regions of the structure image",
        "Regions of each appearance image, in order",
    ]
    assert [(target, event) for target, event in check.targets] == [(file._id, "change") for file in check.inputs]


def test_file_among_several_that_is_no_image_is_refused(sources, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    good = str(sources["structure"])
    check_images(good, None, [], [good])
    with pytest.raises(ImageError, match=r"broken\.png"):
        check_images(good, None, [good, str(tmp_path / "broken.png")])


def test_mask_editors_get_no_image_while_the_folder_of_uploads_is_full(events, monkeypatch):
    # An editor uploads the image that it gets.
    unpainted = {"background": "a.png", "layers": [], "composite": None}
    shown = events.show_editors(True, "a.png", None)
    assert shown == {"editors": gr.update(visible=True), "structure_mask": unpainted, "appearance_mask": None}
    monkeypatch.setattr(guard, "MAX_STORED", guard.MAX_UPLOAD - 1)
    assert events.unpainted(True, "a.png") is None
    (card,) = events.show_editors(True, "a.png", None).values()
    assert card["visible"]
    assert guard.FULL in card["value"]
    assert events.show_editors(False, "a.png", None)["editors"] == gr.update(visible=False)


def test_new_image_empties_only_its_own_mask_and_the_box_paint_masks_both(page):
    labels = {key: block.label for key, block in page.blocks.items() if getattr(block, "label", None)}
    changes = [
        (labels.get(target), [labels.get(output._id) for output in function.outputs])
        for function in page.fns.values()
        for target, event in function.targets
        if event == "change" and target in labels
    ]
    emptied = {
        label: [name for name in outputs if str(name).endswith(" mask")] for label, outputs in changes if any(outputs)
    }
    assert emptied == {
        "Structure image": ["Structure mask"],
        "Appearance image": ["Appearance mask"],
        "Paint masks": ["Structure mask", "Appearance mask"],
    }
