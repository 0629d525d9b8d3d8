"""The tab Look inside in a browser, on tiny networks."""

import pytest
from app_page import block_of, choose, upload

from tests.conftest import write_pair
from vitsplice.images import example

pytestmark = pytest.mark.browser


def open_tab(page, name):
    """Open one of the tabs of Look inside."""
    page.get_by_role("tab", name="Look inside").click()
    page.get_by_role("tab", name=name).click()
    return page


def test_slider_and_click_show_layers_and_similarities(page):
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


def test_broken_image_is_an_error_on_the_page(page, tmp_path):
    open_tab(page, "Layers")
    path = tmp_path / "broken.png"
    path.write_bytes(b"broken")
    block_of(page, "Image").locator("input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Compute all layers").click()
    page.get_by_role("alert").get_by_text("broken.png").wait_for()


def begin_inversion(page):
    open_tab(page, "Inversion")
    upload(page, "Image to invert", example("cat-dog")[0])
    choose(page, "Backbone of the features", "tiny-vit")
    page.get_by_role("spinbutton", name="Steps", exact=True).fill("5000")
    page.get_by_role("button", name="Invert").click()


def stop_inversion(page):
    page.get_by_alt_text("preview of the output").wait_for()
    page.locator("button:visible", has_text="Stop").click()
    page.get_by_text("of 5000 steps").filter(has_text="stopped after").wait_for()


def test_inversion_can_be_stopped_and_another_one_waits_for_it(page, open_page):
    begin_inversion(page)
    page.get_by_alt_text("preview of the output").wait_for()
    other = open_page()
    begin_inversion(other)
    other.get_by_text("queue: 1/1").wait_for()
    stop_inversion(page)
    stop_inversion(other)


def test_comparison_shows_its_report_in_an_isolated_frame(page, tmp_path):
    open_tab(page, "Comparison")
    upload(page, "Images, two or more", *write_pair(tmp_path))
    backbones = page.get_by_role("combobox", name="Backbones", exact=True)
    backbones.press("Backspace")  # removes the one that is chosen
    choose(page, "Backbones", "tiny-cnn")
    backbones.press("Escape")
    page.get_by_label("Also compare under a change of style").uncheck()
    page.get_by_role("button", name="Compare").click()
    page.frame_locator("iframe.frame").get_by_role("heading", name="Structure and appearance by layer").wait_for(
        timeout=120_000
    )
