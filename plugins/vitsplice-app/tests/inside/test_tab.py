"""The tab Look inside in a browser, on tiny networks."""

import pytest
from app_page import block_of, choose, open_tab, remove_image, upload

from tests.conftest import write_pair
from vitsplice.images import example

pytestmark = pytest.mark.browser


@pytest.fixture
def page(shared_page):
    """The shared page with the tab open."""
    open_tab(shared_page, "Look inside")
    return shared_page


def test_slider_and_click_show_layers_and_similarities_and_a_broken_image_is_an_error(page, tmp_path):
    open_tab(page, "Layers")
    upload(page, "Image", example("cat-dog")[0])
    choose(page, "Backbone", "tiny-vit")
    page.get_by_role("button", name="Compute all layers").click()
    page.get_by_role("slider", name="key at layer 2 (-1)").press("ArrowLeft")
    page.get_by_role("slider", name="key at layer 1 (-2)").wait_for()
    row, column = (page.get_by_role("spinbutton", name=f"{name} of the patch") for name in ("Row", "Column"))
    similarity = page.locator(".block:visible").filter(has_text="Similarity, first image").last.locator("img")
    before = similarity.get_attribute("src")
    similarity.click(position={"x": 3, "y": 3})
    page.wait_for_function("([image, before]) => image.src !== before", arg=[similarity.element_handle(), before])
    assert (row.input_value(), column.input_value()) == ("0", "0")
    assert not page.get_by_role("alert").is_visible()

    path = tmp_path / "broken.png"
    path.write_bytes(b"broken")
    remove_image(page)
    block_of(page, "Image").locator("input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Compute all layers").click()
    page.get_by_role("alert").get_by_text("broken.png").wait_for()


@pytest.mark.usefixtures("no_plots")
def test_comparison_shows_its_report_in_an_isolated_frame(page, tmp_path):
    open_tab(page, "Comparison")
    upload(page, "Images, two or more", *write_pair(tmp_path))
    backbones = page.get_by_role("combobox", name="Backbones", exact=True)
    backbones.press("Backspace")  # removes the chosen backbone
    choose(page, "Backbones", "tiny-vit")
    backbones.press("Escape")
    page.get_by_label("Also compare under a change of style").uncheck()
    page.get_by_role("button", name="Compare").click()
    report = page.frame_locator("iframe.frame:visible")
    report.get_by_role("heading", name="Structure and appearance by layer").wait_for(timeout=120_000)
