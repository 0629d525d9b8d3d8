"""The preview in a notebook, with recorded displays and in a Jupyter kernel."""

import gc
import os
import re
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vitsplice import splice
from vitsplice.errors import UserError
from vitsplice.notebook import Preview

HELPERS = Path(__file__).parent / "helpers"

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "15_notebook.py"

SETUP = """\
import functools, sys
from vitsplice.analysis import correspondence
sys.argv = ["", "tiny-vit", "tiny"]
correspondence.match_images = functools.partial(correspondence.match_images, grid=12)
"""
"""First cell of the notebook: the arguments of the example, and fewer patches to match."""


@pytest.fixture
def displays(monkeypatch):
    """HTML of each display and of its updates, in order."""
    shown = []

    class Handle:
        def __init__(self, page):
            self.pages = [page.data]

        def update(self, page):
            self.pages.append(page.data)

    def display(page, *, display_id):
        handle = Handle(page)
        shown.append(handle.pages)
        return handle

    monkeypatch.setattr(pytest.importorskip("IPython.display"), "display", display)
    return shown


def steps_shown(pages):
    return [int(re.search(r"step (\d+) of", page)[1]) for page in pages]


def test_every_step_is_shown_in_one_display_with_the_time_that_remains(displays, pair):
    splice(*pair, "tiny", on_step=Preview(every=0))
    (pages,) = displays
    assert steps_shown(pages) == [1, 2, 3, 4, 5]
    assert all('src="data:image/jpeg;base64,' in page for page in pages)
    assert "ETA" in pages[3]
    assert pages[4].endswith(" s</figcaption></figure>")
    assert len(set(pages)) == 5


def test_first_and_last_step_are_shown_however_fast_the_run_is(displays, pair):
    splice(*pair, "tiny", on_step=Preview(every=1e9))
    assert steps_shown(displays[0]) == [1, 5]


@pytest.mark.slow
def test_every_run_has_a_display_of_its_own(displays, pair):
    preview = Preview(every=0)
    for _ in range(2):
        splice(*pair, "tiny", steps=2, on_step=preview)
    assert [steps_shown(pages) for pages in displays] == [[1, 2], [1, 2]]


class FakeRun:
    """The part of a run that a preview shows."""

    finished, settings, seconds = False, SimpleNamespace(steps=9), {"steps": 0.0}

    def pixels(self):
        return torch.zeros(3, 4, 4)


def test_runs_that_take_turns_have_a_display_each_and_are_released_from_memory(displays):
    preview, runs = Preview(every=0), [FakeRun(), FakeRun()]
    for index in range(3):
        for run in runs:
            preview(SimpleNamespace(index=index, total=1.0), run)
    assert [steps_shown(pages) for pages in displays] == [[1, 2, 3]] * 2
    references = [weakref.ref(run) for run in runs]
    del run, runs
    gc.collect()
    assert [reference() for reference in references] == [None, None]


@pytest.mark.slow
def test_a_preview_does_not_change_the_output(displays, pair):
    shown, hidden = splice(*pair, "tiny", on_step=Preview(every=0)), splice(*pair, "tiny")
    assert shown.pixels.equal(hidden.pixels)


@pytest.mark.parametrize("size", [0, True, float("nan"), "a", None])
def test_size_below_one_pixel_is_refused(size):
    with pytest.raises(UserError, match=f"size={size!r} is not allowed; it must be a number of at least 1, in pixels"):
        Preview(size=size)


def test_infinite_size_is_refused():
    with pytest.raises(UserError, match="size=inf is not allowed; it must be finite, in pixels"):
        Preview(size=float("inf"))


@pytest.mark.parametrize("every", [-1, float("nan"), "a"])
def test_time_that_is_no_number_of_seconds_is_refused(every):
    with pytest.raises(
        UserError, match=f"every={every!r} is not allowed; it must be a number of at least 0, in seconds"
    ):
        Preview(every=every)


def test_without_ipython_the_error_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(UserError, match="pip install ipython"):
        Preview()


@pytest.mark.slow
def test_cells_of_the_example_show_preview_result_and_viewer_in_a_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), *sys.path]))
    nbclient, nbformat = (pytest.importorskip(name) for name in ("nbclient", "nbformat"))
    sources = [SETUP, *(f"# {cell}" for cell in EXAMPLE.read_text().split("\n# %%")[1:])]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, sources)))
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output.data for cell in notebook.cells for output in cell.outputs if output.output_type != "stream"]
    preview, result, *viewers = shown
    assert "step 5 of 5" in preview["text/html"]
    assert "image/png" in result
    assert [viewer["text/html"].startswith("<iframe srcdoc=") for viewer in viewers] == [True, True]
    assert (tmp_path / "out/example-matches/matches.html").is_file()
