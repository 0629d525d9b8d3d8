import dataclasses
import re
from html import escape

import pytest

from tests.analysis.synthetic import comparison, info
from tests.conftest import noise
from vitsplice.analysis import comparison_report
from vitsplice.analysis.comparison import TRANSFORM_ROLES, Measure
from vitsplice.analysis.comparison_report import blocks, report
from vitsplice.analysis.comparison_statistics import findings
from vitsplice.metrics.independent import CNN
from vitsplice.support.page import Heading, ImageRow, Plot, Table, Text

PAIR = "a from b"
METRICS = ("gradient-ssim", "cnn-statistics")


def with_images(data):
    transfers = [Measure(name, "", None, "transfer", metric, PAIR, 0.123) for name in data.infos for metric in METRICS]
    return dataclasses.replace(
        data,
        measures=(*data.measures, *transfers),
        transfers={(name, PAIR): noise(3, 30, 40) for name in data.infos},
        inputs={PAIR: (noise(3, 30, 40), noise(3, 50, 40))},
        transformed={name: noise(3, 20, 20) for name in TRANSFORM_ROLES},
    )


@pytest.fixture(scope="module")
def data():
    infos = [info("vit"), info(CNN, 2, ("map", "pooled")), info("<blind>", source="random weights")]
    return with_images(comparison(infos, {"vit": 3.0, CNN: 2.0, "<blind>": 1.0}, images=30))


@pytest.fixture
def many():
    """A comparison of twelve backbones with long names: nine with 5 layers, three with 2."""
    names = ["dinov2-vits14-offline", "swin_base_patch4_window7_224.ms_in22k_ft_in1k", "vgg19", CNN, "resnet50"]
    names += ["untrained-vit_large_patch14_reg4_dinov2", *(f"vit_large_patch14_{n}.a_hub" for n in range(6))]
    infos = [info(n, 2, ("map", "pooled")) if n in ("vgg19", "resnet50", CNN) else info(n, 5) for n in names]
    return with_images(comparison(infos, {name: 1.0 + n / 4 for n, name in enumerate(names)}, images=4))


@pytest.fixture(scope="module")
def drawn_and_html(data):
    """The blocks of the report, with its plots, and the report."""
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison_report, "blocks", lambda comparison: drawn.extend(blocks(comparison)) or drawn)
        html = report(data)
    return drawn, html


@pytest.fixture(scope="module")
def drawn(drawn_and_html):
    return drawn_and_html[0]


@pytest.fixture(scope="module")
def html(drawn_and_html):
    return drawn_and_html[1]


def of_kind(drawn, kind):
    return [block for block in drawn if isinstance(block, kind)]


@pytest.mark.slow
def test_report_starts_with_plots_followed_by_the_findings(data, drawn):
    contents = [block for block in drawn if not isinstance(block, Heading)]
    assert [type(block) for block in contents[:4]] == [Plot] * 4
    sentences = [block.text for block in contents if isinstance(block, Text)]
    assert sentences == findings(data)
    assert len(sentences) <= 6


@pytest.mark.slow
def test_captions_name_facets_and_layers(drawn):
    for plot in of_kind(drawn, Plot):
        assert f"self-similarity of key (vit, <blind>) and map ({CNN})" in plot.caption
        assert "layer" in plot.caption.lower()
    tables = of_kind(drawn, Table)
    assert sum("layer -1" in table.caption for table in tables) >= 3
    backbones = next(table for table in tables if "facets compared" in table.caption)
    assert backbones.rows[0][:4] == ["vit", "key", "cls", "0 (-3) to 2 (-1)"]


@pytest.mark.slow
def test_every_mean_in_a_plot_has_an_interval(drawn):
    sensitivity, depth, last_layer, agreement = of_kind(drawn, Plot)
    bars = re.compile(r'id="LineCollection_')
    backbones, roles, directions, quantities = 3, 2, 2, 3  # quantities: two selectivities and PCK
    assert len(bars.findall(sensitivity.svg)) == roles * directions * backbones
    assert len(re.findall(r'id="(?:FillBetween)?PolyCollection_', depth.svg)) == quantities * backbones
    assert len(bars.findall(last_layer.svg)) == quantities * backbones
    assert "with 95 % intervals at most 0.04 wide" in agreement.caption


def test_outputs_of_transfers_follow_their_inputs(data, drawn):
    row = of_kind(drawn, ImageRow)[0]
    assert [image.caption for image in row.images] == ["structure image", "appearance image", *data.infos]


def test_transfers_without_metrics_have_no_table_of_metrics(data, no_plots):
    without = [measure for measure in data.measures if measure.metric != "transfer"]
    drawn = blocks(dataclasses.replace(data, measures=tuple(without)))
    assert of_kind(drawn, ImageRow)
    assert not [table for table in of_kind(drawn, Table) if table.caption.startswith("Metrics")]


def test_metric_leakage_and_single_pairs_are_named(drawn):
    table = next(table for table in of_kind(drawn, Table) if table.caption.startswith("Metrics"))
    assert f"In the row of {CNN}, " in table.caption
    assert "are measured with the backbone of the transfers (metric leakage)" in table.caption
    assert "One pair: an illustration" in table.caption


@pytest.mark.slow
def test_names_are_escaped(html):
    assert "<blind>" not in html
    assert "&lt;blind&gt;" in html


@pytest.mark.slow
def test_notebook_display_embeds_the_report(data, drawn, html, monkeypatch):
    monkeypatch.setattr(comparison_report, "blocks", lambda comparison: drawn)
    shown = data._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "<script>" not in shown
    assert escape(html) in shown


OVERLAPS = """
() => [...document.querySelectorAll("svg")].flatMap(svg => {
  const texts = [...svg.querySelectorAll("text")].filter(one => one.textContent.trim());
  const boxes = texts.map(one => one.getBoundingClientRect());
  const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  return texts.flatMap((one, i) => texts.slice(i + 1).filter((_, j) => over(boxes[i], boxes[i + 1 + j]))
    .map(other => `${one.textContent} | ${other.textContent}`));
})
"""


@pytest.mark.browser
def test_labels_of_many_backbones_and_layers_do_not_overlap(opened, many, tmp_path):
    (tmp_path / "report.html").write_text(report(many))
    page = opened(tmp_path / "report.html", viewport={"width": 1200, "height": 900})
    assert page.locator("svg").count() == 4
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.browser
def test_report_is_complete_and_fits_a_narrow_screen(opened, html, tmp_path):
    (tmp_path / "report.html").write_text(html)
    page = opened(tmp_path / "report.html", viewport={"width": 390, "height": 800})
    assert page.locator("svg").count() == 4
    assert page.locator("img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
