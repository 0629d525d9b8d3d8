import re

import pytest

from tests.evaluation.conftest import image
from vitsplice.datasets import Pair, write
from vitsplice.evaluation import gallery as module
from vitsplice.evaluation.cases import ImageCounts
from vitsplice.evaluation.gallery import choose_cases, ordinal
from vitsplice.evaluation.summary import EvaluationSummary, MethodScore, MetricSummary
from vitsplice.metrics.statistics import MeanInterval


@pytest.fixture
def gallery(evaluated, method, tmp_path):
    """Path of the page of two methods, one of which lacks an output."""
    evaluated(method("one", 10), method("two", 20, ("p0", "p1", "p2", "p3")))
    return tmp_path / "out" / "gallery.html"


@pytest.mark.slow
def test_few_pairs_are_all_shown(gallery):
    text = gallery.read_text()
    assert re.findall(r"<h3>(\w+)", text) == sorted_by_value(text)
    assert len(re.findall(r"<img", text)) == 5 * 4 - 1  # two inputs and two outputs of each pair
    assert "All pairs" in text
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", text)


def sorted_by_value(text):
    """Titles, sorted by their first value, the largest first."""
    cards = re.findall(r"<h3>(\w+).*?data-value=\"([\d.]+)\"", text, re.S)
    return [title for title, _ in sorted(cards, key=lambda card: -float(card[1]))]


def test_worst_and_best_of_many_pairs_are_shown(evaluated, method, tmp_path, pairs, monkeypatch):
    monkeypatch.setattr(module, "MAX_IMAGES", 3 * 6)  # two inputs and one output of six pairs
    images = [image(tmp_path / f"{name}.png", seed=k) for k, name in enumerate("sa")]
    names = [f"q{number}" for number in range(30)]
    write(pairs, [Pair(name, *images) for name in names])
    summary = evaluated(method("one", 10, names))
    text = (tmp_path / "out" / "gallery.html").read_text()
    shown = set(re.findall(r"<h3>(\w+)", text))
    assert len(shown) == 6
    for metric in summary.metrics.values():
        if metric.over == "pair":
            ends = {metric.methods["one"].worst[0], metric.methods["one"].best[0]}
            assert {names[index] for index in ends} <= shown
    assert "6 of 30 pairs" in text
    assert "worst of 30" in text


def test_without_values_of_pairs_no_image_is_read(evaluated, method, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "read_image", lambda path: pytest.fail(f"{path} is read"))
    evaluated(method("one", 10), metrics=("set-sum",))
    text = (tmp_path / "out" / "gallery.html").read_text()
    assert "<article>" not in text
    assert "set-sum" in text


def test_worst_and_best_pairs_of_all_methods_come_before_the_second_worst():
    indices = {"a": ((0, 1), (2, 3)), "b": ((4, 5), (6, 7))}  # the two worst and the two best pairs of each method
    interval = MeanInterval(0.0, 0.0, 0.0, 1000, "")
    scores = {name: MethodScore(interval, 0.0, 1.0, "none", 0, "", *ends) for name, ends in indices.items()}
    metric = MetricSummary("m", "", "lower", "pair", "structure", (), {}, scores, ())
    summary = EvaluationSummary(1000, ImageCounts(1000, 1000, 1000), {}, {}, {}, {"m": metric}, {})
    assert [*choose_cases(summary, ["m"], 5)] == [0, 4, 2, 6, 1]


def test_ordinal_of_a_number_has_its_suffix():
    assert [ordinal(n) for n in (1, 2, 3, 4, 10)] == ["1st", "2nd", "3rd", "4th", "10th"]


@pytest.mark.browser
@pytest.mark.usefixtures("plots_on_page")
def test_browser_sorts_cases_by_any_metric_of_any_method(opened, gallery):
    page = opened(gallery)
    page.emulate_media(color_scheme="dark")

    def order():
        return page.locator(".cards h3").evaluate_all("all => all.map(title => title.firstChild.textContent)")

    def values(metric, method):
        cell = f"""card => [...card.querySelectorAll('tbody tr')].find(
            row => row.cells[0].textContent === '{metric}').cells[{method} + 1].textContent"""
        return page.locator(".cards article").evaluate_all(f"all => all.map({cell})")

    for metric, worst_is_largest in (("structure-difference", True), ("appearance-similarity", False)):
        page.select_option("select[name=row]", label=metric)
        for number, method in enumerate(("one", "two")):
            page.select_option("select[name=column]", label=method)
            for end in ("worst", "best"):
                page.select_option("select[name=end]", label=end)
                numbers = [float(value) for value in values(metric, number) if value != "-"]
                assert numbers == sorted(numbers, reverse=worst_is_largest == (end == "worst"))
                assert len(numbers) == (5, 4)[number]
                assert method == "one" or order()[-1] == "p4"  # of which method two has no output
                outputs = page.locator(".cards article").first.locator(".selected output")
                assert float(outputs.inner_text()) == numbers[0]
    assert page.locator("img").evaluate_all("all => all.every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
