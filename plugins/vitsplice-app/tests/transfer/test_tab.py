"""Updates of the tab Transfer, without a browser."""

from types import SimpleNamespace

import pytest
from vitsplice_app.context import AppContext
from vitsplice_app.transfer import tab


@pytest.fixture
def events(workspace):
    return tab.Events(AppContext(workspace), SimpleNamespace(sliders=range(5)), None)


def test_preset_that_cannot_be_used_shows_its_yaml_and_the_error(events, session, monkeypatch):
    monkeypatch.setattr(tab, "preset_yaml", lambda name: "steps: gone")
    summary, text, run, verdict, *sliders = events.choose_preset(session, "instant")
    assert summary["info"].startswith("seconds, no training")
    assert text == "steps: gone"
    assert run["interactive"]
    assert verdict["visible"]
    assert "&#x27;gone&#x27; is not allowed" in verdict["value"]
    assert len(sliders) == 5


def test_new_preset_or_yaml_does_not_enable_the_button_run_while_a_run_runs(events, session):
    session.begin()
    _, text, run, *_ = events.choose_preset(session, "instant")
    assert run["interactive"] is False
    assert events.check_yaml(session, "instant", text)[0]["interactive"] is False


def test_run_that_was_shown_at_the_click_is_resumed_if_another_is_chosen_while_it_waits(
    events, session, new_run, monkeypatch
):
    for _ in range(2):
        run = new_run()
        (run.path / "run.json").write_text("{}")
        session.keep(run)
    resumed = []
    monkeypatch.setattr(tab.running, "resume", lambda run, stopped: iter(resumed.append(run) or ()))
    session.begin()
    session.choose(1)
    assert list(events.resume(session)) == []
    assert [run.number for run in resumed] == [2]


def test_new_image_removes_only_the_paint_of_its_own_mask(build_page, workspace):
    page = build_page(lambda: tab.build(AppContext(workspace)))
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
