"""Comparisons of backbones, without the page."""

import time
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from vitsplice_app.context import AppContext
from vitsplice_app.events import Work
from vitsplice_app.inside import comparison_tab
from vitsplice_app.inside.comparison import compare, comparison_plan, folder_of, with_short_names

from vitsplice.analysis.compare import METRICS
from vitsplice.errors import ImageError, UserError
from vitsplice.support.files import unique_names
from vitsplice.support.folder_lock import is_locked


@pytest.fixture
def plan(image_files):
    return replace(comparison_plan([*map(str, image_files)], ["tiny-cnn"], 0, 1, False), size=64)


@pytest.mark.slow
def test_stopped_comparison_keeps_its_finished_parts(plan, tmp_path):
    answers = iter([False, True])
    states = list(compare(plan, tmp_path / "out", lambda: next(answers)))
    assert [state.sentence for state in states] == ["tiny-cnn, structure, 0 of 2 parts"]
    assert len(list((tmp_path / "out" / "encodings").iterdir())) == 1


def test_equal_plans_have_the_same_folder(plan, tmp_path):
    assert folder_of(replace(plan), tmp_path) == folder_of(plan, tmp_path)
    assert folder_of(replace(plan, size=65), tmp_path) != folder_of(plan, tmp_path)


@pytest.fixture
def uploads(tmp_path):
    """Paths of two different files with the same name, in folders named like those of Gradio."""
    paths = [tmp_path / (digit * 64) / "image.png" for digit in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(path.parent.name.encode())
    return list(map(str, paths))


def test_links_to_images_that_share_a_file_name_stay_the_same(uploads, tmp_path):
    links = with_short_names(uploads, tmp_path / "runs")
    assert [Path(link).read_bytes() for link in links] == [Path(upload).read_bytes() for upload in uploads]
    assert with_short_names(uploads, tmp_path / "runs") == links
    assert with_short_names(uploads[:1], tmp_path / "runs") == uploads[:1]


@pytest.mark.slow
def test_images_that_share_a_file_name_are_named_by_their_numbers(build_page, workspace, uploads, monkeypatch):
    plans = []
    monkeypatch.setattr(comparison_tab, "compare", lambda plan, folder, stopped: iter(plans.append(plan) or ()))
    page = build_page(lambda: comparison_tab.build(AppContext(workspace)))
    (run,) = [event.fn for event in page.fns.values() if event.concurrency_id == "optimisation"]
    list(run(Work(), [(path, None) for path in uploads], ["tiny-cnn"], 0, 1, False))
    assert unique_names(plans[0].images) == ["1/image", "2/image"]


def test_images_that_share_a_file_name_are_compared_if_links_cannot_be_created(tmp_path, monkeypatch):
    def unsupported(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", unsupported)
    paths = ["a/image.png", "b/image.png"]
    assert with_short_names(paths, tmp_path / "runs") == paths


@pytest.mark.slow
def test_closed_comparison_stops(plan, tmp_path):
    folder = folder_of(plan, tmp_path)
    states = compare(plan, folder)
    next(states)
    states.close()
    while is_locked(folder):
        time.sleep(0.01)
    assert not (folder / METRICS).exists()


@pytest.mark.slow
def test_comparison_that_was_closed_can_be_repeated_at_once(plan, tmp_path):
    first = compare(plan, tmp_path / "out")
    next(first)
    first.close()
    second = compare(plan, tmp_path / "out")
    assert next(second).taken == 0
    second.close()


def test_numbers_with_a_fraction_are_refused(plan):
    with pytest.raises(UserError, match="field Transfers with each backbone has the value 0.7; give a whole number"):
        comparison_plan([*map(str, plan.images)], ["tiny-cnn"], 0.7, 1, False)
    with pytest.raises(UserError, match="field Steps of a transfer has the value 2.5"):
        comparison_plan([*map(str, plan.images)], ["tiny-cnn"], 0, 2.5, False)


def test_empty_number_is_refused(plan):
    with pytest.raises(UserError, match="field Steps of a transfer is empty; give a whole number"):
        comparison_plan([*map(str, plan.images)], ["tiny-cnn"], 0, None, False)


@pytest.mark.slow
def test_unreadable_image_is_reported_when_it_is_uploaded(build_page, workspace, image_files, tmp_path):
    page = build_page(lambda: comparison_tab.build(AppContext(workspace)))
    gallery = next(block for block in page.blocks.values() if isinstance(block, gr.Gallery))
    check = next(event.fn for event in page.fns.values() if (gallery._id, "change") in event.targets)
    (tmp_path / "broken.png").write_bytes(b"broken")
    images = [(str(image_files[0]), None), (str(tmp_path / "broken.png"), None)]
    (shown,) = check(images).values()
    assert "broken.png" in shown["value"]
    assert [update["visible"] for chosen in (images[:1], None) for update in check(chosen).values()] == [False, False]


def test_unusable_form_is_reported(plan, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(UserError, match="at least two images"):
        comparison_plan([str(plan.images[0])], ["tiny-cnn"], 0, 1, False)
    with pytest.raises(UserError, match="at least one backbone"):
        comparison_plan([*map(str, plan.images)], [], 0, 1, False)
    broken = replace(plan, images=(plan.images[0], tmp_path / "broken.png"))
    with pytest.raises(ImageError, match=r"broken\.png"):
        list(compare(broken, tmp_path / "out"))
