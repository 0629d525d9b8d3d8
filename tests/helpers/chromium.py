"""Pages in headless Chromium: the fixture `browser`, and pages that fail a test when they misbehave."""

import shutil
from contextlib import contextmanager

import pytest

SWITCHES = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)

NAMES = "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"
"""Names of the command, by preference: the headless shell opens a page in half the time of the others."""

STARTED = pytest.StashKey()


def installed():
    """Path of the installed Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def chromium(driver):
    """Start the installed Chromium with a driver of Playwright."""
    return driver.chromium.launch(executable_path=installed(), args=SWITCHES.split())


@pytest.fixture(scope="session")
def browser(pytestconfig):
    """Headless Chromium, the same for every conftest.py: Playwright can be started only once in a thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if installed() is None:
        pytest.skip("Chromium is not installed; `make browser` installs it if possible")
    if STARTED not in pytestconfig.stash:
        driver = playwright.sync_playwright().start()
        pytestconfig.add_cleanup(driver.stop)
        pytestconfig.stash[STARTED] = chromium(driver)
        pytestconfig.add_cleanup(pytestconfig.stash[STARTED].close)
    return pytestconfig.stash[STARTED]


@contextmanager
def checked_pages(browser, allowed=lambda url: False, ignored=()):
    """Yield a function that opens a URL; fail at the end for foreign requests and for errors or warnings of pages.

    Args:
        browser: Chromium, which opens each page in a context of its own; or a context, for pages with a common cache.
        allowed: function of a URL that is True for requests that a page may send.
        ignored: beginnings of console messages that are not failures.
    """
    pages, problems = [], []

    def open_page(url, **settings):
        page = browser.new_page(**settings)
        pages.append(page)
        page.on("request", lambda request: problems.append(f"request {request.url[:80]}") if outside(request) else None)
        page.on("console", lambda message: problems.append(message.text) if reported(message) else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url)
        return page

    def outside(request):
        return not (request.url.startswith("data:") or request.is_navigation_request() or allowed(request.url))

    def reported(message):
        return message.type in ("error", "warning") and not message.text.startswith(tuple(ignored))

    yield open_page
    for page in pages:
        page.close()
    assert not problems, "\n".join(problems)
