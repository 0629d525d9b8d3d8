"""The preview in a notebook, with recorded displays and in a Jupyter kernel."""

import gc
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


@pytest.mark.slow
def test_preview_shows_every_step_and_the_remaining_time_in_one_display_and_does_not_change_the_output(displays, pair):
    shown = splice(*pair, "tiny", on_step=Preview(every=0))
    (pages,) = displays
    assert steps_shown(pages) == [1, 2, 3, 4, 5]
    assert all('src="data:image/jpeg;base64,' in page for page in pages)
    assert "ETA" in pages[3]
    assert pages[4].endswith(" s</figcaption></figure>")
    assert len(set(pages)) == 5
    assert shown.pixels.equal(splice(*pair, "tiny").pixels)


@pytest.mark.slow
def test_first_and_last_step_are_shown_however_fast_the_run_is(displays, pair):
    splice(*pair, "tiny", on_step=Preview(every=1e9))
    assert steps_shown(displays[0]) == [1, 5]


@pytest.mark.slow
def test_every_run_has_a_display_of_its_own(displays, pair):
    preview = Preview(every=0)
    for _ in range(2):
        splice(*pair, "tiny", steps=1, on_step=preview)
    assert [steps_shown(pages) for pages in displays] == [[1], [1]]


class FakeRun:
    """The part of a run that a preview shows."""

    finished, settings, seconds = False, SimpleNamespace(steps=9), {"steps": 0.0}

    def pixels(self):
        return torch.zeros(3, 4, 4)


@pytest.mark.slow
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


@pytest.mark.parametrize("size", [0, True, float("nan"), "a", None])
def test_size_below_one_pixel_is_refused(size):
    with pytest.raises(UserError, match=f"size={size!r} is not allowed; it must be a number of at least 1, in pixels"):
        Preview(size=size)


def test_infinite_size_is_refused():
    with pytest.raises(UserError, match="size=inf is not allowed; it must be finite, in pixels"):
        Preview(size=float("inf"))


@pytest.mark.parametrize("every", [-1, float("nan"), "a"])
def test_interval_that_is_no_number_of_seconds_is_refused(every):
    with pytest.raises(
        UserError, match=f"every={every!r} is not allowed; it must be a number of at least 0, in seconds"
    ):
        Preview(every=every)


def test_without_ipython_the_error_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(UserError, match="pip install ipython"):
        Preview()


def run_kernel(words):
    """Run a Jupyter kernel until a client ends it."""
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(words)
    return 0


@pytest.fixture
def kernel(processes, tmp_path):
    """Client of a kernel in a process of its own, whose working folder is ``tmp_path``."""
    client = pytest.importorskip("jupyter_client").BlockingKernelClient()
    pytest.importorskip("ipykernel")
    client.connection_file = str(tmp_path / "kernel.json")
    client.write_connection_file()
    process = processes.start(["-f", client.connection_file], tmp_path, program=run_kernel)
    client.hb_channel.time_to_dead = 60.0  # seconds; else a slow start counts as the end of the kernel
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield client
    finally:
        client.shutdown()
        client.stop_channels()
        process.communicate(timeout=20)


@pytest.mark.slow
def test_cells_of_the_example_show_preview_result_and_viewer_in_a_kernel(kernel, tmp_path):
    shown = {}

    def show(message):
        """Record what a notebook would show; an update replaces the content of its display."""
        content = message["content"]
        if message["msg_type"] in ("display_data", "update_display_data", "execute_result"):
            shown[content.get("transient", {}).get("display_id", message["header"]["msg_id"])] = content["data"]

    for cell in (SETUP, *(f"# {cell}" for cell in EXAMPLE.read_text().split("\n# %%")[1:])):
        reply = kernel.execute_interactive(cell, output_hook=show, timeout=120)
        assert reply["content"]["status"] == "ok", reply["content"]
    preview, result, *viewers = shown.values()
    assert "step 5 of 5" in preview["text/html"]
    assert "image/png" in result
    assert [viewer["text/html"].startswith("<iframe srcdoc=") for viewer in viewers] == [True, True]
    assert (tmp_path / "out/example-matches/matches.html").is_file()
