"""The page of vitsplice app in a browser: its checks, and actions on it."""

from chromium import checked_pages

SIZE = {"width": 1280, "height": 900}
"""Size of the window."""

FEW_FRAMES = """
window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 50);
window.cancelAnimationFrame = clearTimeout;
"""
"""Script that delays each frame that a page requests by 50 ms, because drawing without a GPU takes much time."""

GRADIO_WARNINGS = ("Method not implemented.",)
"""Warnings of Gradio itself: it closes a stream of events that cannot be closed."""


def checked_app_pages(opener, server, ignored=()):
    """`checked_pages` that may send requests to a server.

    Args:
        opener: the browser, or a context of it.
        ignored: beginnings of console messages that are not failures, besides `GRADIO_WARNINGS`.
    """
    return checked_pages(opener, lambda url: url.startswith((server.url, "blob:")), (*GRADIO_WARNINGS, *ignored))


def open_tab(page, name):
    """Open a tab, and wait for a frame: Gradio may lose an image that is uploaded before this frame."""
    page.get_by_role("tab", name=name).click()
    page.get_by_role("tab", name=name, selected=True).wait_for()
    wait_for_frame(page)


def wait_for_frame(page):
    """Wait for the next call of a function that is passed to ``requestAnimationFrame``."""
    page.evaluate("() => new Promise(requestAnimationFrame)")


def choose(page, label, name):
    """Choose an option of a list by its name."""
    page.get_by_role("combobox", name=label, exact=True).fill(name)
    page.get_by_role("option", name=name).click()


def block_of(page, label):
    """Find the visible image input with a label."""
    visible = page.locator(".block:visible").filter(has_text=label)
    return visible.filter(has=page.locator("input[type=file]")).first


def remove_image(page):
    """Remove the only image in the visible inputs, and wait until another can be uploaded."""
    remove = page.get_by_role("button", name="Remove Image")
    remove.click()
    remove.wait_for(state="detached")


def upload(page, label, *paths):
    """Upload images, and wait until they are shown."""
    block = block_of(page, label)
    block.locator("input[type=file]").set_input_files([str(path) for path in paths])
    block.locator("img").first.wait_for(timeout=90_000)
