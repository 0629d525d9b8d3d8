"""Events of long work: checks of waiting values, failures, and the order of the work of several tabs."""

from pathlib import Path

import coroutines
import gradio as gr
import pytest
from app_page import choose, open_tab, upload
from gradio.state_holder import SessionState
from vitsplice_app import events
from vitsplice_app.choices import about_preset
from vitsplice_app.errors import error_card

from vitsplice.images import example


@pytest.mark.slow
@pytest.mark.parametrize(
    ("component", "value", "update"),
    [
        (lambda: gr.Slider(0, 2000), 1000, {"maximum": 100}),
        (lambda: gr.Dropdown([("last", -1), ("first", -12)]), -12, {"choices": [("last", -1)]}),
        (lambda: gr.Radio(["first"]), "first", {"choices": []}),
    ],
)
def test_value_that_waited_is_passed_after_the_range_or_the_choices_have_changed(build_page, component, value, update):
    def build():
        changing = component()
        events.disable_gradio_check(changing)
        changing.change(lambda given: given, changing, changing)

    page = build_page(build)
    (event,), state = page.fns.values(), SessionState(page)
    coroutines.run(page.postprocess_data(event, gr.update(**update), state))
    (changing,) = event.outputs
    replacement = state[changing._id]
    assert replacement is not changing
    assert replacement.get_block_name() == changing.get_block_name() == type(changing).__base__.__name__.lower()
    assert coroutines.run(page.preprocess_data(event, [value], state)) == [value]
    assert not list(Path(events.__file__).parent.glob("*.pyi"))


@pytest.mark.slow
def test_work_that_fails_outside_of_its_handler_is_reported_in_the_card(build_page):
    parts = {}

    def build():
        parts.update(card=error_card(), live=gr.HTML(), start=gr.Button("Start"), stop=events.stop_button())
        card, live = parts["card"], parts["live"]
        events.connect_start_and_stop(parts["start"], parts["stop"], lambda work: iter(()), [], [card, live], live)

    page = build_page(build)
    (run,) = [event for event in page.fns.values() if event.concurrency_id == "optimisation"]
    reports = [
        event.fn()
        for event in page.fns.values()
        if event.trigger_after == run._id and event.trigger_only_on_failure and event.outputs == [parts["card"]]
    ]
    assert [report["visible"] for report in reports] == [True]
    assert "the work could not begin" in reports[0]["value"]


@pytest.mark.browser
def test_transfer_waits_for_an_inversion_and_does_not_begin_if_it_is_stopped_before(shared_page, open_page):
    page = shared_page
    open_tab(page, "Look inside")
    open_tab(page, "Inversion")
    page.get_by_role("button", name="Invert").click()
    page.get_by_role("alert").get_by_text("there is no image").wait_for()
    page.get_by_role("button", name="Invert", disabled=False).wait_for()
    assert page.locator(".working:visible").count() == 0
    upload(page, "Image to invert", example("cat-dog")[0])
    choose(page, "Backbone of the features", "tiny-vit")
    page.get_by_role("spinbutton", name="Steps", exact=True).fill("5000")
    page.get_by_role("spinbutton", name="Size (px)").fill("64")
    waiting = open_page()
    waiting.get_by_role("button", name="Example: apple and orange").first.click()
    page.get_by_role("button", name="Invert").click()
    page.get_by_alt_text("preview of the output").wait_for()

    waiting.get_by_role("button", name="Run", exact=True).click()
    waiting.get_by_text("queue: 1/1").wait_for()
    choose(waiting, "Preset", "tiny:")
    waiting.get_by_text(about_preset("tiny")).first.wait_for()
    waiting.wait_for_timeout(300)
    assert waiting.get_by_role("button", name="Run", exact=True).is_disabled()
    waiting.get_by_role("button", name="Stop").click()
    waiting.get_by_role("button", name="Stopping…", disabled=True).wait_for()

    page.locator("button.stop:visible").click()
    page.get_by_text("of 5000 steps").filter(has_text="stopped after").wait_for()
    waiting.get_by_role("button", name="Run", exact=True, disabled=False).wait_for()
    waiting.get_by_role("button", name="Stop", exact=True, disabled=True).wait_for()
    assert waiting.get_by_text("run 1").count() == 0
    assert waiting.locator(".working:visible").count() == 0
