"""The page in a browser: tabs, requests, console."""

import pytest

pytestmark = pytest.mark.browser


def test_page_has_its_tabs_in_order(page):
    assert page.get_by_role("tab").all_inner_texts() == ["Transfer", "Correspondence", "Look inside", "Results"]


@pytest.mark.parametrize("tab", ["Correspondence", "Look inside", "Results"])
def test_click_on_a_tab_shows_its_heading(page, tab):
    page.get_by_role("tab", name=tab).click()
    page.get_by_role("heading", name=tab).wait_for()
