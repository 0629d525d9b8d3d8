"""Fixtures of the page: one server and one browser a session, on tiny networks."""

import threading
import time
from dataclasses import dataclass

import pytest
from chromium import browser, checked_pages
from vitsplice_app.server import ServerSettings, running_server, url_of
from vitsplice_app.workspace import Workspace

__all__ = ["browser"]


@dataclass(frozen=True)
class RunningServer:
    """A server in a thread of this process: its URL, and its temporary folder."""

    url: str
    workspace: Workspace


@pytest.fixture(scope="session")
def server():
    """The page on a free port, in a thread of this process."""
    with running_server(ServerSettings(port=0)) as (uvicorn_server, listener, workspace):
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not uvicorn_server.started:
            time.sleep(0.01)
        yield RunningServer(url_of(listener), workspace)
        uvicorn_server.should_exit = True
        thread.join(10)


@pytest.fixture
def open_page(browser, server):
    """Function that opens the page; fails at the end for foreign requests and for errors or warnings of the page."""
    with checked_pages(browser, allowed=lambda url: url.startswith(server.url)) as open_url:
        yield lambda **settings: open_url(server.url, **{"viewport": {"width": 1280, "height": 900}} | settings)


@pytest.fixture
def page(open_page):
    """The page, opened in a browser, with its first tab."""
    opened = open_page()
    opened.get_by_role("tab", name="Transfer").wait_for()
    return opened
