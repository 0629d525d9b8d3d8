"""Actions on the page of vitsplice app in a browser."""


def open_tab(page, name):
    """Open a tab."""
    page.get_by_role("tab", name=name).click()
    page.get_by_role("tab", name=name, selected=True).wait_for()


def choose(page, label, name):
    """Choose an option of a list by its name."""
    page.get_by_role("combobox", name=label, exact=True).fill(name)
    page.get_by_role("option", name=name).click()


def block_of(page, label):
    """The visible input for images with a label."""
    visible = page.locator(".block:visible").filter(has_text=label)
    return visible.filter(has=page.locator("input[type=file]")).first


def upload(page, label, *paths):
    """Upload images, and wait until they are shown."""
    block = block_of(page, label)
    block.locator("input[type=file]").set_input_files([str(path) for path in paths])
    block.locator("img").first.wait_for(timeout=90_000)
