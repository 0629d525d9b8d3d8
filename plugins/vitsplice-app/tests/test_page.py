"""The page in a browser: tabs, keyboard, labels, phones, dark mode. Fixtures check requests and the console."""

import pytest
from app_page import checked_app_pages, open_tab
from vitsplice_app.page import TABS

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}

CONTROLS = {
    "button", "checkbox", "combobox", "link", "listbox", "radio", "searchbox", "slider", "spinbutton", "tab", "textbox"
}  # fmt: skip
"""Roles of elements that people operate."""


@pytest.fixture
def transfer(shared_page):
    """The shared page with its first tab."""
    open_tab(shared_page, "Transfer")
    return shared_page


@pytest.fixture(scope="module")
def unused_page(context, server):
    """The page without images and results, for tests that only resize it or open its tabs."""
    with checked_app_pages(context, server) as open_url:
        yield open_url(server.url)


def unnamed_controls(page):
    """Descriptions of the controls of a page for which a screen reader has no name."""
    session = page.context.new_cdp_session(page)
    nodes = [node for node in session.send("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
    controls = [node for node in nodes if node["role"]["value"] in CONTROLS]
    assert controls
    return [
        session.send("DOM.describeNode", {"backendNodeId": node["backendDOMNodeId"]})["node"]
        for node in controls
        if not node.get("name", {}).get("value", "").strip()
    ]


def test_page_has_its_tabs_in_order(transfer):
    assert transfer.get_by_role("tab").all_inner_texts() == list(TABS)


def test_every_control_of_every_tab_has_a_name(unused_page):
    for name in TABS:
        open_tab(unused_page, name)
        assert unnamed_controls(unused_page) == []


def test_tabs_are_reached_and_opened_by_the_keyboard(transfer):
    transfer.get_by_role("tab", name="Transfer").focus()
    transfer.keyboard.press("Tab")
    transfer.keyboard.press("Enter")
    transfer.get_by_role("tab", name="Correspondence", selected=True).wait_for()


def test_run_button_is_visible_below_the_settings(transfer):
    run, seed = transfer.get_by_role("button", name="Run", exact=True), transfer.get_by_role("slider", name="Seed")
    assert run.bounding_box()["y"] + run.bounding_box()["height"] <= 900
    follows = "(seed, run) => seed.compareDocumentPosition(run) === Node.DOCUMENT_POSITION_FOLLOWING"
    assert seed.evaluate(follows, run.element_handle())


def test_number_outside_of_the_range_of_its_slider_is_noted(transfer):
    transfer.get_by_role("spinbutton", name="Structure strength").fill("1e9")
    text = "element => getComputedStyle(element.closest('.block'), '::after').content"
    assert "Outside of the range" in transfer.get_by_role("spinbutton", name="Structure strength").evaluate(text)
    assert transfer.get_by_role("spinbutton", name="Appearance strength").evaluate(text) == "none"


def test_activity_indicator_does_not_move_if_reduced_motion_is_preferred(transfer):
    ring = """main => {
        const added = main.appendChild(Object.assign(document.createElement("p"), {className: "working"}));
        const {animationName, borderBottomWidth} = getComputedStyle(added, "::before");
        added.remove();
        return [animationName, borderBottomWidth];
    }"""
    for motion, animation in (("no-preference", "turn"), ("reduce", "fade")):
        transfer.emulate_media(reduced_motion=motion)
        assert transfer.locator(".contain").first.evaluate(ring) == [animation, "2px"]


def test_phone_shows_every_tab_without_scrolling_sideways(unused_page):
    unused_page.set_viewport_size(PHONE)
    for name in TABS:
        open_tab(unused_page, name)
        assert unused_page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def brightness(page):
    """Red value of the background."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return int(colour.removeprefix("rgb(").split(",")[0])


def test_page_follows_the_colour_scheme_of_the_system(transfer):
    assert brightness(transfer) > 200
    transfer.emulate_media(color_scheme="dark")
    assert brightness(transfer) < 50
