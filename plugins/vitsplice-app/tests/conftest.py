"""Fixtures of the page: one server and one browser a session, on tiny networks."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Queue

import coroutines
import gradio as gr
import pytest
from app_page import SIZE, checked_app_pages
from chromium import browser
from vitsplice_app.server import ServerSettings, service
from vitsplice_app.workspace import temporary_workspace

from tests.conftest import no_plots, processes, small_metrics

__all__ = ["browser", "no_plots", "processes", "small_metrics"]


def run_service(settings, started):
    """Run a server in this thread; put it into a queue when it is ready to run."""
    with service(settings) as ready:
        started.put(ready)
        ready.run()


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory):
    """Folder that the tab Results shows."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="session")
def server(results_folder):
    """The page on a free port, in a thread of this process: its `url`, and its `workspace`."""
    started = Queue()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(run_service, ServerSettings(port=0, folder=results_folder), started)
        ready = started.get(timeout=60)
        while not ready.server.started:
            time.sleep(0.01)
        yield ready
        ready.server.should_exit = True
        ended.result(20)


@pytest.fixture
def workspace():
    """Temporary folder of a server."""
    with temporary_workspace() as folder:
        yield folder


@pytest.fixture
def build_page():
    """Function that calls a function in the context of a new page and returns the page.

    Outside of an event loop, Gradio creates some that it does not close.
    """

    async def built(build):
        with gr.Blocks() as page:
            build()
        return page

    return lambda build: coroutines.run(built(build))


@contextmanager
def opened_pages(opener, server):
    """Yield a function that opens the page; fail at the end for foreign requests and for errors or warnings of it."""
    with checked_app_pages(opener, server) as open_url:
        yield lambda **settings: open_url(server.url, **settings)


@pytest.fixture(scope="session")
def context(browser):
    """Context of the pages, whose cache halves the time in which they load."""
    opened = browser.new_context(viewport=SIZE)
    yield opened
    opened.close()


def first_tab(open_page, **settings):
    """Open the page and wait for its first tab."""
    opened = open_page(**settings)
    opened.get_by_role("tab", name="Transfer").wait_for()
    return opened


@pytest.fixture
def open_page(context, server):
    """Function that opens the page, see `opened_pages`."""
    with opened_pages(context, server) as open_page:
        yield open_page


@pytest.fixture
def page(open_page):
    """The page, opened in a browser, with its first tab."""
    return first_tab(open_page)


@pytest.fixture(scope="session")
def _shared(context, server):
    """A page, and the function that checks it."""
    with checked_app_pages(context, server) as open_url:
        yield open_url(server.url), open_url.check


@pytest.fixture
def shared_page(_shared):
    """The page, opened once for the tests of a session: they may find images, settings and results in other tabs."""
    shared, check = _shared
    shared.set_viewport_size(SIZE)
    shared.emulate_media(reduced_motion="null")
    yield shared
    shared.evaluate("() => new Promise(requestAnimationFrame)")  # messages of the page arrive during a call
    check()


@pytest.fixture
def dark_page(browser, server):
    """The page on a system with a dark colour scheme, with its first tab."""
    with opened_pages(browser, server) as open_page:
        yield first_tab(open_page, color_scheme="dark")
