"""The tab Results, mostly in a browser."""

import coroutines
import gradio as gr
import pytest
from gradio.state_holder import SessionState
from vitsplice_app.context import AppContext
from vitsplice_app.results import tab

REPORT = """<!doctype html><link rel="icon" href="data:,"><h1>gallery</h1><p>none</p><script>
try { parent.document.title = "taken over"; } catch { document.querySelector("p").textContent = "isolated"; }
</script>"""


def write(folder, **contents):
    """Write texts to files of a new folder; ``batch_json`` is the text of ``batch.json``."""
    folder.mkdir()
    for name, text in contents.items():
        (folder / name.replace("_", ".")).write_text(text)


@pytest.mark.slow
def test_choice_that_was_listed_before_a_restart_does_not_hinder_the_refresh(build_page, workspace):
    page = build_page(lambda: tab.build(AppContext(workspace)))
    (refresh,) = [event for event in page.fns.values() if any(isinstance(part, gr.Radio) for part in event.inputs[:1])]
    assert coroutines.run(page.preprocess_data(refresh, ["evaluation 'a'"], SessionState(page))) == ["evaluation 'a'"]


@pytest.mark.browser
def test_results_are_listed_and_shown(shared_page, results_folder):
    page = shared_page
    page.get_by_role("tab", name="Results").click()
    page.get_by_text("holds no evaluation, study, batch or comparison").wait_for()
    write(results_folder / "a", evaluate_json='{"format": 3}', gallery_html=REPORT)
    write(results_folder / "b", batch_json='{"format": 2, "threads": 1, "pairs": 2, "variants": {"quick": {}}}')
    write(results_folder / "c", batch_json="{")
    page.get_by_role("button", name="Refresh the list").click()
    page.get_by_label("evaluation · a").check()
    frame = page.frame_locator("iframe.frame:visible")
    frame.get_by_role("heading", name="gallery").wait_for()
    frame.get_by_text("isolated").wait_for()
    page.get_by_label("batch · b").check()
    page.get_by_text("0 of 2 runs have ended").wait_for()
    page.get_by_label("batch · c").check()
    page.get_by_text("batch.json is not the file of a batch").wait_for()
    assert page.title() == "vitsplice"
    write(results_folder / "d", evaluate_json='{"format": 3}')
    page.get_by_role("button", name="Refresh the list").click()
    page.get_by_label("evaluation · d").check()
    page.get_by_text("The command was stopped before it wrote the page").wait_for()
    (results_folder / "d" / "gallery.html").write_text(REPORT)
    page.get_by_role("button", name="Refresh the list").click()
    frame.get_by_role("heading", name="gallery").wait_for()
    assert page.get_by_label("evaluation · d").is_checked()
