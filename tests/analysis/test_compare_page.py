import dataclasses

import pytest

from vitsplice.analysis.compare_page import report
from vitsplice.analysis.findings import findings

from ..conftest import noise
from .test_comparison import compared
from .toys import Toy, colour, luma


@pytest.fixture(scope="module")
def found():
    made = compared(Toy(colour, "colour"), Toy(luma, "<luma>", source="random weights"))
    transfers = {(name, "a from b"): noise(3, 30, 40) for name in made.infos}
    changed = {name: noise(3, 20, 20) for name in ("grey", "flip")}
    return dataclasses.replace(made, transfers=transfers, changed=changed)


def test_it_says_what_was_found_and_is_the_same_twice(found):
    page = report(found)
    assert page == report(found)
    for sentence in findings(found)[:2]:
        assert sentence.replace("<", "&lt;").replace(">", "&gt;") in page
    assert "<luma>" not in page


def test_it_shows_itself_in_a_notebook(found):
    assert found._repr_html_().startswith("<iframe srcdoc=")
    assert "<script>" not in found._repr_html_()


@pytest.mark.real
def test_a_browser_shows_it(opened, found, tmp_path):
    (tmp_path / "report.html").write_text(report(found))
    page = opened(tmp_path / "report.html", viewport={"width": 390, "height": 800})
    assert page.locator("svg").count() == 4
    assert page.locator("img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
