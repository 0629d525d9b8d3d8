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

BROWSER = pytest.StashKey()


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
    if BROWSER not in pytestconfig.stash:
        driver = playwright.sync_playwright().start()
        pytestconfig.add_cleanup(driver.stop)
        pytestconfig.stash[BROWSER] = chromium(driver)
        pytestconfig.add_cleanup(pytestconfig.stash[BROWSER].close)
    return pytestconfig.stash[BROWSER]


class CheckedPages:
    """Pages whose foreign requests, errors and warnings are problems. A call opens a URL; see `checked_pages`."""

    def __init__(self, browser, allowed, ignored):
        self.browser, self.allowed, self.ignored = browser, allowed, tuple(ignored)
        self.pages, self.problems = [], []

    def __call__(self, url, **settings):
        page = self.browser.new_page(**settings)
        self.pages.append(page)
        page.on("request", self._note_request)
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(url)
        return page

    def _note_request(self, request):
        if not (request.url.startswith("data:") or request.is_navigation_request() or self.allowed(request.url)):
            self.problems.append(f"request {request.url[:80]}")

    def _note_message(self, message):
        if message.type in ("error", "warning") and not message.text.startswith(self.ignored):
            self.problems.append(message.text)

    def check(self):
        """Fail for the problems since the last check."""
        problems, self.problems = self.problems, []
        assert not problems, "\n".join(problems)


@contextmanager
def checked_pages(browser, allowed=lambda url: False, ignored=()):
    """Yield `CheckedPages`, a function that opens a URL; close and check the pages at the end.

    Args:
        browser: Chromium, which opens each page in a context of its own; or a context, for pages with a common cache.
        allowed: function of a URL that is True for requests that a page may send.
        ignored: beginnings of console messages that are not failures.
    """
    open_page = CheckedPages(browser, allowed, ignored)
    yield open_page
    for page in open_page.pages:
        page.close()
    open_page.check()
