"""Updates of the tab Transfer, without a browser."""

from types import SimpleNamespace

import pytest
from vitsplice_app.context import AppContext
from vitsplice_app.transfer import tab


@pytest.fixture
def events(workspace):
    return tab.Events(AppContext(workspace), SimpleNamespace(sliders=range(5)), None)


def test_preset_that_cannot_be_used_shows_its_yaml_and_the_error(events, monkeypatch):
    monkeypatch.setattr(tab, "preset_yaml", lambda name: "steps: gone")
    summary, text, verdict, *sliders = events.choose_preset("instant")
    assert summary["info"].startswith("seconds, no training")
    assert text == "steps: gone"
    assert verdict["visible"]
    assert "&#x27;gone&#x27; is not allowed" in verdict["value"]
    assert len(sliders) == 5


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
