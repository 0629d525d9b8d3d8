"""Time from a click on a patch to the drawn heat map in the viewer of matches: python click_time.py matches.html."""

import statistics
import sys
from contextlib import closing
from pathlib import Path

from chromium import chromium
from playwright.sync_api import sync_playwright

CLICKS = """async () => {
  const stage = document.querySelector(".stage"), box = stage.getBoundingClientRect(), times = [];
  const nextFrame = () => new Promise(requestAnimationFrame);
  for (let n = 0; n < 100; n++) {
    const clientX = box.left + box.width * ((n * 37) % 100) / 100, clientY = box.top + box.height * n / 100;
    await nextFrame();
    const start = performance.now();
    stage.dispatchEvent(new PointerEvent("pointerdown", { clientX, clientY, bubbles: true }));
    const drawn = performance.now();
    await nextFrame();
    await new Promise((done) => setTimeout(done));
    times.push([drawn - start, performance.now() - start]);
  }
  return times;
}"""
"""Times of a hundred clicks in milliseconds, until the script has drawn and until the next frame is shown."""


def measure(browser, path):
    """Print the median and the maximum of the times."""
    with closing(browser.new_page()) as page:
        page.goto(Path(path).resolve().as_uri())
        for name, times in zip(("drawn", "shown"), zip(*page.evaluate(CLICKS), strict=True), strict=True):
            print(f"{name} after {statistics.median(times):.1f} ms (median), {max(times):.1f} ms (maximum)")


if __name__ == "__main__":
    with sync_playwright() as driver, closing(chromium(driver)) as browser:
        measure(browser, sys.argv[1])
