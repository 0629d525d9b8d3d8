"""Time from the command `vitsplice app` to a page that can be used, and the size of the page: python app_startup.py."""

import subprocess
import sys
import time
from contextlib import closing

from chromium import chromium
from playwright.sync_api import sync_playwright

COMMAND = [sys.executable, "-m", "vitsplice", "app", "--no-open"]


def load(browser, url):
    """Open the page and wait for its first tab; return the end of that, and the sizes of what was loaded in bytes."""
    sizes = []
    with closing(browser.new_page()) as page:
        session = page.context.new_cdp_session(page)
        session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
        session.send("Network.enable")
        page.goto(url)
        page.get_by_role("button", name="Run", exact=True).wait_for()
        usable = time.perf_counter()
        page.wait_for_timeout(1000)
    return usable, sizes


def measure(browser):
    """Start the command and open the page once; print the times and sizes."""
    begin = time.perf_counter()
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split()[3]
        served = time.perf_counter()
        usable, sizes = load(browser, url)
        process.terminate()
    times = f"{served - begin:.1f} s to the server, {usable - begin:.1f} s to the page"
    print(f"{times}, {len(sizes)} requests, {sum(sizes) / 1e6:.1f} MB")


if __name__ == "__main__":
    with sync_playwright() as driver, closing(chromium(driver)) as browser:
        for _ in range(3):
            measure(browser)
