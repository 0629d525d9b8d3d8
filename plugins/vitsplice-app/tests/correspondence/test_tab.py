"""The tab Correspondence in a browser, compared with `vitsplice.matching`."""

import json

import pytest
from app_page import block_of, choose, open_tab, remove_image, upload
from match_page import click, marked
from vitsplice_app.correspondence.matching import TOGETHER, match

from vitsplice.images import example

pytestmark = pytest.mark.browser

PAIR = tuple(map(str, example("cat-dog")))


COLLECT_ANNOUNCEMENTS = """region => {
    window.announcements = [];
    const collect = () => window.announcements.push(region.textContent.trim());
    new MutationObserver(collect).observe(region, {characterData: true, childList: true, subtree: true});
}"""
"""Script that collects the texts of a live region, which screen readers announce."""


def matched(tab):
    """Match the images and return the viewer."""
    tab.get_by_role("button", name="Match", exact=True).click()
    viewer = tab.frame_locator("iframe:visible")
    viewer.locator("#status").wait_for(timeout=60_000)
    assert tab.locator("iframe:visible").bounding_box()["y"] < 300
    return viewer


def test_broken_image_is_an_error_until_it_is_replaced_and_click_shows_the_match_by_the_chosen_feature(
    shared_page, tmp_path
):
    tab = shared_page
    open_tab(tab, "Correspondence")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    block_of(tab, "First image").locator("input[type=file]").set_input_files(broken)
    tab.get_by_role("alert").get_by_text("broken.png").wait_for()
    remove_image(tab)
    for label, path in zip(("First image", "Second image"), PAIR, strict=True):
        upload(tab, label, path)
    choose(tab, "Backbone", "tiny-vit")
    choose(tab, "Facet", "value")
    choose(tab, "Layer", "1 (-2)")
    tab.get_by_role("spinbutton", name="Patches per side").fill("10")
    tab.locator("[aria-live=polite].sr-only").evaluate(COLLECT_ANNOUNCEMENTS)
    viewer = matched(tab)
    assert not tab.get_by_role("alert").is_visible()
    expected = match(PAIR, "tiny-vit", "value", -2, 10)
    correspondence = expected.correspondence
    for patch in (7, 33):
        click(viewer, 0, patch, correspondence.grid)
        assert marked(viewer, 1, "best", correspondence.other_grid) == correspondence.best[patch]
    click(viewer, 1, 12, correspondence.other_grid)
    assert marked(viewer, 0, "best", correspondence.grid) == correspondence.similarity[:, 12].argmax()
    with tab.expect_download() as download:
        viewer.locator("#json").click()
    download.value.save_as(tmp_path / "matches.json")
    assert json.loads((tmp_path / "matches.json").read_text()) == json.loads(json.dumps(expected.record()))
    tab.wait_for_function("announcements.includes('Complete')")


@pytest.mark.weights
def test_eye_of_the_cat_matches_an_eye_of_the_dog(page):
    tab = page
    open_tab(tab, "Correspondence")
    tab.get_by_role("button", name="Example: cat and dog").locator("visible=true").click()
    block_of(tab, "Second image").locator("img").wait_for()
    tab.get_by_role("spinbutton", name="Patches per side").fill("16")
    viewer = matched(tab)
    expected = match(PAIR, "dinov2-vits14-offline", TOGETHER, None, 16).correspondence
    rows, columns = expected.grid
    patch = int(0.37 * rows) * columns + int(0.385 * columns)
    click(viewer, 0, patch, expected.grid)
    best = marked(viewer, 1, "best", expected.other_grid)
    assert best == expected.best[patch]
    row, column = divmod(best, expected.other_grid[1])
    assert abs((row + 0.5) / expected.other_grid[0] - 0.29) < 0.04
    assert abs((column + 0.5) / expected.other_grid[1] - 0.66) < 0.04
