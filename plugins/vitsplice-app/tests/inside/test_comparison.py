"""Comparisons of backbones, without the page."""

import time
from dataclasses import replace

import pytest
from vitsplice_app.inside.comparison import ComparisonForm, compare, folder_of

from vitsplice.analysis.compare import METRICS
from vitsplice.errors import ImageError, UserError
from vitsplice.images import example
from vitsplice.support.output_folder import is_locked


@pytest.fixture
def plan():
    images = [str(path) for path in example("cat-dog")]
    return replace(ComparisonForm(images, ["tiny-cnn"], 0, 1, False).plan(), size=64)


def test_stopped_comparison_keeps_its_finished_parts(plan, tmp_path):
    asked = iter([False, True])
    states = list(compare(plan, tmp_path / "out", lambda: next(asked)))
    assert [state.sentence for state in states] == ["tiny-cnn, cat, 0 of 2 parts"]
    assert len(list((tmp_path / "out" / "encodings").iterdir())) == 1


def test_folder_of_the_same_plan_is_the_same(plan, tmp_path):
    assert folder_of(replace(plan), tmp_path) == folder_of(plan, tmp_path)
    assert folder_of(replace(plan, size=65), tmp_path) != folder_of(plan, tmp_path)


def test_closed_comparison_stops(plan, tmp_path):
    folder = folder_of(plan, tmp_path)
    states = compare(plan, folder)
    next(states)
    states.close()
    while is_locked(folder):
        time.sleep(0.01)
    assert not (folder / METRICS).exists()


def test_comparison_that_was_closed_can_be_repeated_at_once(plan, tmp_path):
    first = compare(plan, tmp_path / "out")
    next(first)
    first.close()
    second = compare(plan, tmp_path / "out")
    assert next(second).taken == 0
    second.close()


def test_unusable_form_is_reported(plan, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(UserError, match="at least two images"):
        ComparisonForm([str(plan.images[0])], ["tiny-cnn"], 0, 1, False).plan()
    with pytest.raises(UserError, match="at least one backbone"):
        ComparisonForm([*map(str, plan.images)], [], 0, 1, False).plan()
    broken = replace(plan, images=(plan.images[0], tmp_path / "broken.png"))
    with pytest.raises(ImageError, match=r"broken\.png"):
        list(compare(broken, tmp_path / "out"))
