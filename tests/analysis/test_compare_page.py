import dataclasses
import re

import pytest

from tests.analysis.synthetic import comparison, info
from tests.conftest import noise
from vitsplice.analysis.compare_page import blocks, report
from vitsplice.analysis.comparison import KINDS, Row
from vitsplice.analysis.findings import findings
from vitsplice.metrics.independent import CNN
from vitsplice.support.page import Heading, ImageRow, Plot, Table, Text

PAIR = "a from b"
METRICS = ("gradient-ssim", "cnn-statistics")


def with_images(made):
    rows = [Row(name, "", -1, "transfer", metric, PAIR, 0.123) for name in made.infos for metric in METRICS]
    return dataclasses.replace(
        made,
        rows=(*made.rows, *rows),
        transfers={(name, PAIR): noise(3, 30, 40) for name in made.infos},
        inputs={PAIR: (noise(3, 30, 40), noise(3, 50, 40))},
        changed={name: noise(3, 20, 20) for name in KINDS},
    )


@pytest.fixture(scope="module")
def found():
    infos = [info("vit"), info(CNN, 2, ("map", "pooled")), info("<blind>", source="random weights")]
    return with_images(comparison(infos, {"vit": 3.0, CNN: 2.0, "<blind>": 1.0}, images=30))


@pytest.fixture(scope="module")
def many():
    """As many backbones and layers as anybody compares, with names as long as timm's."""
    names = ["dinov2-vits14-offline", "swin_base_patch4_window7_224.ms_in22k_ft_in1k", "vgg19", CNN, "resnet50"]
    names += ["untrained-vit_large_patch14_reg4_dinov2", *(f"vit_large_patch14_{n}.a_hub" for n in range(6))]
    infos = [info(n, 5, ("map", "pooled")) if n in ("vgg19", "resnet50", CNN) else info(n, 24) for n in names]
    return with_images(comparison(infos, {name: 1.0 + n / 4 for n, name in enumerate(names)}, images=12))


def test_the_page_begins_with_plots_and_has_few_sentences_after_them(found):
    shown = [block for block in blocks(found) if not isinstance(block, Heading)]
    kinds = [type(block) for block in shown]
    assert kinds[:4] == [Plot] * 4
    sentences = [block.text for block in shown if isinstance(block, Text)]
    assert sentences == findings(found)
    assert len(sentences) <= 6
    assert report(found) == report(found)


def test_facets_and_layers_that_were_compared_are_named_everywhere(found):
    for block in blocks(found):
        if isinstance(block, Plot):
            assert f"self-similarity of key (vit, <blind>) and map ({CNN})" in block.caption
            assert "layer" in block.caption.lower()
    captions = [block.caption for block in blocks(found) if isinstance(block, Table)]
    assert sum("layer -1" in caption for caption in captions) >= 3
    compared = next(block for block in blocks(found) if isinstance(block, Table) and "facets compared" in block.caption)
    assert compared.rows[0][:4] == ["vit", "key", "cls", "0 (-3) to 2 (-1)"]


def test_every_number_of_a_plot_has_its_interval(found):
    plots = [block for block in blocks(found) if isinstance(block, Plot)]
    lines, layers, last, agreements = (plot.svg for plot in plots)
    bars = re.compile(r'id="LineCollection_')
    assert len(bars.findall(lines)) == 2 * 2 * 3
    assert len(re.findall(r'id="(?:FillBetween)?PolyCollection_', layers)) == 3 * 3
    assert len(bars.findall(last)) == 3 * 3
    assert "intervals reach at most 0.02" in plots[3].caption
    assert agreements


def test_transfers_are_beside_their_inputs(found):
    shown = next(block for block in blocks(found) if isinstance(block, ImageRow))
    assert [one.caption for one in shown.images] == ["structure image", "appearance image", *found.infos]


def test_no_backbone_is_praised_by_a_metric_that_uses_it(found):
    table = next(b for b in blocks(found) if isinstance(b, Table) and b.caption.startswith("Metrics"))
    assert f"measured with {CNN}: they do not count for its own images" in table.caption
    assert "One pair: an illustration" in table.caption


def test_words_from_elsewhere_stay_words(found):
    assert "<blind>" not in report(found)


def test_notebook_display_embeds_the_report(found):
    assert found._repr_html_().startswith("<iframe srcdoc=")
    assert "<script>" not in found._repr_html_()


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
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_label_overlaps_another_with_many_backbones_and_layers(opened, many, tmp_path, scheme):
    (tmp_path / "report.html").write_text(report(many))
    page = opened(tmp_path / "report.html", color_scheme=scheme, viewport={"width": 1200, "height": 900})
    assert page.locator("svg").count() == 4
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.browser
def test_a_browser_shows_it(opened, found, tmp_path):
    (tmp_path / "report.html").write_text(report(found))
    page = opened(tmp_path / "report.html", viewport={"width": 390, "height": 800})
    assert page.locator("svg").count() == 4
    assert page.locator("img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
