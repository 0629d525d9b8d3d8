"""Actions on the page of vitsplice app in a browser."""


def choose(page, label, name):
    """Choose an option of a list by its name."""
    page.get_by_role("combobox", name=label, exact=True).fill(name)
    page.get_by_role("option", name=name).click()


def upload(page, label, path):
    """Upload an image file, and wait until it is shown."""
    block = page.locator(".block").filter(has_text=label).filter(has=page.locator("input[type=file]")).last
    block.locator("input[type=file]").set_input_files(str(path))
    block.get_by_role("button", name="Remove Image").wait_for()
