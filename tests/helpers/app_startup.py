"""Measure the time from the command `vitsplice app` to a page that can be used, and the size of the page.

Run it with ``python tests/helpers/app_startup.py``.
"""

import subprocess
import sys
import time
from contextlib import closing

from chromium import chromium
from playwright.sync_api import sync_playwright

COMMAND = [sys.executable, "-m", "vitsplice", "app", "--no-open"]


def load(browser, url):
    """Open the page and wait for the button Run.

    Returns:
        Time at which the button appeared, and the size in bytes of each response until one second later.
    """
    sizes = []
    with closing(browser.new_page()) as page:
        session = page.context.new_cdp_session(page)
        session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
        session.send("Network.enable")
        page.goto(url)
        page.get_by_role("button", name="Run", exact=True).wait_for()
        usable_at = time.perf_counter()
        page.wait_for_timeout(1000)
    return usable_at, sizes


def measure(browser):
    """Start the command and open the page once; print times, the number of requests and the size of the responses."""
    begin = time.perf_counter()
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as process:
        if not (line := process.stdout.readline()):
            sys.exit("the command ended before it printed its URL")
        served_at = time.perf_counter()
        try:
            usable_at, sizes = load(browser, line.split()[3])  # "The page is URL (Ctrl-C ends it)"
        finally:
            process.terminate()
            process.communicate()
    times = f"{served_at - begin:.1f} s to the URL, {usable_at - begin:.1f} s to a page that can be used"
    print(f"{times}, {len(sizes)} requests, {sum(sizes) / 1e6:.1f} MB")


if __name__ == "__main__":
    with sync_playwright() as driver, closing(chromium(driver)) as browser:
        for _ in range(3):
            measure(browser)
