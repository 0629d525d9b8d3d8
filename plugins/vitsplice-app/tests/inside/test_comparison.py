"""Comparisons of backbones, without the page."""

import time
from dataclasses import replace

import pytest
from vitsplice_app.inside.comparison import ComparisonForm, compare, folder_of

from vitsplice.analysis.compare import METRICS, REPORT, BackboneComparison
from vitsplice.errors import ImageError, UserError
from vitsplice.images import example
from vitsplice.support.output_folder import is_locked


@pytest.fixture
def plan():
    images = [str(path) for path in example("cat-dog")]
    return replace(ComparisonForm(images, ["tiny-cnn"], 0, 1, False).plan(), size=64)


def test_stopped_comparison_resumes_in_the_same_folder(plan, tmp_path):
    folder, asked = folder_of(plan, tmp_path), iter([False, True])
    states = list(compare(plan, folder, lambda: next(asked)))
    assert [state.sentence for state in states] == ["tiny-cnn, cat, 0 of 2 parts"]
    assert len(list((folder / "encodings").iterdir())) == 1
    *_, comparison = compare(plan, folder_of(plan, tmp_path))
    assert isinstance(comparison, BackboneComparison)
    assert comparison.images == ("cat", "dog")
    assert (folder / REPORT).is_file()
    assert folder_of(replace(plan, size=65), tmp_path) != folder


def test_closed_comparison_stops(plan, tmp_path):
    folder = folder_of(plan, tmp_path)
    states = compare(plan, folder)
    next(states)
    states.close()
    while is_locked(folder):
        time.sleep(0.01)
    assert not (folder / METRICS).exists()


def test_unusable_form_is_reported(plan, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(UserError, match="at least two images"):
        ComparisonForm([str(plan.images[0])], ["tiny-cnn"], 0, 1, False).plan()
    with pytest.raises(UserError, match="at least one backbone"):
        ComparisonForm([*map(str, plan.images)], [], 0, 1, False).plan()
    broken = replace(plan, images=(plan.images[0], tmp_path / "broken.png"))
    with pytest.raises(ImageError, match=r"broken\.png"):
        list(compare(broken, tmp_path / "out"))
