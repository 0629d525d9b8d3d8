import re

import pytest

from tests.evaluation.conftest import image
from vitsplice.datasets import Pair, write
from vitsplice.evaluation import gallery as galleries
from vitsplice.evaluation.cases import Measured
from vitsplice.evaluation.gallery import choose, ordinal
from vitsplice.evaluation.summary import Standing, Summary
from vitsplice.metrics.statistics import MeanInterval


@pytest.fixture
def page(evaluated, method, tmp_path):
    """The page of two methods, one of which lacks an output."""
    evaluated(method("one", 10), method("two", 20, ("p0", "p1", "p2", "p3")))
    return tmp_path / "out" / "gallery.html"


def test_all_pairs_are_shown_where_they_are_few(page):
    text = page.read_text()
    assert re.findall(r"<h3>(\w+)", text) == sorted_by_value(text)
    assert len(re.findall(r"<img", text)) == 5 * 4 - 1
    assert "All pairs" in text
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", text)


def sorted_by_value(text):
    """The titles, the largest first number of the first column first."""
    cards = re.findall(r"<h3>(\w+).*?data-value=\"([\d.]+)\"", text, re.S)
    return [title for title, _ in sorted(cards, key=lambda card: -float(card[1]))]


def test_of_many_pairs_the_worst_and_the_best_are_shown(evaluated, method, tmp_path, pairs, monkeypatch):
    monkeypatch.setattr(galleries, "MOST", 3 * 6)
    images = [image(tmp_path / f"{name}.png", seed=k) for k, name in enumerate("sa")]
    names = [f"q{number}" for number in range(30)]
    write(pairs, [Pair(name, *images) for name in names])
    found = evaluated(method("one", 10, names))
    text = (tmp_path / "out" / "gallery.html").read_text()
    shown = set(re.findall(r"<h3>(\w+)", text))
    assert len(shown) == 6
    for one in found.metrics.values():
        if one.spec.over == "pair":
            ends = {one.standings["one"].worst[0], one.standings["one"].best[0]}
            assert {names[place] for place in ends} <= shown
    assert "6 of 30 pairs" in text
    assert "worst of 30" in text


def test_the_worst_of_all_come_before_the_second_worst_of_any():
    standings = {"m": {"a": ((0, 1), (2, 3)), "b": ((4, 5), (6, 7))}}
    metrics = {
        name: Shown(
            {
                m: Standing(MeanInterval(0.0, 0.0, 0.0, 1000, ""), 0.0, 1.0, "no", 0, "", worst, best)
                for m, (worst, best) in of.items()
            }
        )
        for name, of in standings.items()
    }
    summary = Summary(1000, {}, {}, metrics, {}, {}, Measured(1000, 1000, 1000))
    assert [*choose(summary, ["m"], 5)] == [0, 4, 2, 6, 1]


class Shown:
    def __init__(self, standings):
        self.standings = standings


def test_ordinals():
    assert [ordinal(n) for n in (1, 2, 3, 4, 10)] == ["1st", "2nd", "3rd", "4th", "10th"]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_sorts_it_by_any_figure_of_any_method(opened, page, scheme):
    shown = opened(page, color_scheme=scheme)

    def order():
        return shown.locator(".cards h3").evaluate_all("all => all.map(one => one.firstChild.textContent)")

    def values(figure, method):
        cell = f"""card => [...card.querySelectorAll('tbody tr')].find(
            row => row.cells[0].textContent === '{figure}').cells[{method} + 1].textContent"""
        return shown.locator(".cards article").evaluate_all(f"all => all.map({cell})")

    for figure, falls_when_worst in (("off-structure", True), ("like-appearance", False)):
        for number, method in enumerate(("one", "two")):
            for end in ("worst", "best"):
                shown.select_option("select[name=row]", label=figure)
                shown.select_option("select[name=column]", label=method)
                shown.select_option("select[name=end]", label=end)
                found = [float(value) for value in values(figure, number) if value != "-"]
                assert found == sorted(found, reverse=falls_when_worst == (end == "worst"))
                assert len(found) == (5, 4)[number]
                assert method == "one" or order()[-1] == "p4"
                outputs = shown.locator(".cards article").first.locator(".selected output")
                assert float(outputs.inner_text()) == found[0]
    assert shown.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
    assert shown.evaluate("document.documentElement.scrollWidth") <= shown.viewport_size["width"]
