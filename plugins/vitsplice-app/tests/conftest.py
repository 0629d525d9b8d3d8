"""Fixtures of the page: one server and one browser per session."""

import time
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import coroutines
import gradio as gr
import pytest
from app_page import FEW_FRAMES, SIZE, checked_app_pages, wait_for_frame
from chromium import browser
from vitsplice_app.server import ServerSettings, service
from vitsplice_app.workspace import temporary_workspace

from tests.conftest import image_files, no_plots, png, processes, small_metrics

__all__ = ["browser", "image_files", "no_plots", "png", "processes", "small_metrics"]


def run_service(settings, created):
    """Put the `Service` of a new server into the queue ``created``, and run the server in this thread."""
    with service(settings) as server_service:
        created.put(server_service)
        server_service.run()


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory):
    """Folder that the tab Results shows."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="session")
def server(results_folder):
    """`Service` of the page, which runs on a free port in a thread of this process."""
    created = Queue()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(run_service, ServerSettings(port=0, folder=results_folder), created)
        running = created.get(timeout=60)
        while not running.server.started:
            time.sleep(0.01)
        yield running
        running.server.should_exit = True
        ended.result(20)


@pytest.fixture
def workspace():
    """Temporary folder of a server."""
    with temporary_workspace() as folder:
        yield folder


@pytest.fixture
def build_page():
    """Function that calls a function in the context of a new page and returns the page.

    Outside of an event loop, Gradio creates loops that it does not close.
    """

    async def built(build):
        with gr.Blocks() as page:
            build()
        return page

    return lambda build: coroutines.run(built(build))


@pytest.fixture(scope="session")
def context(browser):
    """Browser context that pages share; its cache halves their loading time."""
    opened = browser.new_context(viewport=SIZE)
    opened.add_init_script(FEW_FRAMES)
    yield opened
    opened.close()


@pytest.fixture
def open_page(context, server):
    """Function that opens the page; at the end, the pages that it opened are checked (`checked_app_pages`)."""
    with checked_app_pages(context, server) as open_url:
        yield lambda: open_url(server.url)


@pytest.fixture
def page(open_page):
    """The page, opened in a browser, with its first tab."""
    opened = open_page()
    opened.get_by_role("tab", name="Transfer").wait_for()
    return opened


@pytest.fixture(scope="session")
def _shared(context, server):
    """A page, and the function that checks it."""
    with checked_app_pages(context, server) as open_url:
        yield open_url(server.url), open_url.check


@pytest.fixture
def shared_page(_shared):
    """The page, opened once per session; earlier tests may have left images, settings and results in it."""
    shared, check = _shared
    shared.set_viewport_size(SIZE)
    shared.emulate_media(reduced_motion="null", color_scheme="light")
    yield shared
    wait_for_frame(shared)  # console messages arrive during a call
    check()
