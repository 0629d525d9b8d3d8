from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.evaluation import plots
from vitsplice.evaluation.cases import CaseCounts, ImageCounts
from vitsplice.evaluation.summary import EvaluationSummary, summarise_pairs

LONG_NAMES = [f"a-method-with-a-name-of-forty-letters-{number:02}" for number in range(8)]
AGAINST = {"distance": "structure", "ssim": "structure", "cls": "appearance", "lab": "appearance"}


def summarised(names, pairs=40, leakage="none", shift=0.5):
    """Summary in which each method differs from the previous one by ``shift``; ``leakage`` of `distance` and `cls`."""
    noise = np.random.default_rng(0)
    metrics = {}
    for metric, against in AGAINST.items():
        better = "higher" if metric == "cls" else "lower"
        table = np.array([noise.normal(shift * row, 0.1, pairs) for row in range(len(names))])
        leakages = dict.fromkeys(names, leakage if metric in ("distance", "cls") else "none")
        spec = MetricSpec(metric, lambda context: None, "", better=better, against=against)
        metrics[metric] = summarise_pairs(spec, Metric(float), table, [pairs] * len(names), {}, leakages)
    counts, ranks = {name: CaseCounts(pairs) for name in names}, dict.fromkeys(names, 1.0)
    images = ImageCounts(pairs, pairs, pairs)
    return EvaluationSummary(pairs, images, counts, dict.fromkeys(names), ranks, metrics, {})


def figure_of(drawing):
    """Draw into a figure, without rendering it or computing its layout."""
    figure = Figure(figsize=drawing.size, layout="constrained")
    drawing.draw(figure)
    return figure


@pytest.mark.slow
@pytest.mark.parametrize("names", [LONG_NAMES, ["one", "two"], LONG_NAMES[:4]], ids=["eight", "two", "four"])
def test_labels_do_not_overlap_and_stay_inside(names):
    for drawing in plots.drawings(summarised(names, pairs=10)):
        figure = figure_of(drawing)
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for axes in figure.axes for text in (*axes.get_yticklabels(), axes.title)]
        boxes += [text.get_window_extent() for legend in figure.legends for text in legend.get_texts()]
        boxes = [box for box in boxes if box.width]
        assert not any(first.overlaps(second) for first, second in combinations(boxes, 2)), drawing.name
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes), drawing.name


def markers_of(axes):
    """Mean difference of each marker of a forest plot, and True if the marker is filled."""
    markers = [container.lines[0] for container in axes.containers]
    return [(float(marker.get_xdata()[0]), marker.get_markerfacecolor() != "none") for marker in markers]


@pytest.mark.slow
def test_forest_plot_compares_few_methods_with_each_other_and_many_with_the_first():
    many, few = (plots.drawings(summarised(list(names)))[0] for names in ("abcdef", "abc"))
    figure = figure_of(many)
    assert [round(mean, 1) for mean, _ in markers_of(figure.axes[0])] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert "each method minus a" in many.caption
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [*"bcdef"]
    assert [round(mean, 1) for mean, _ in markers_of(figure_of(few).axes[0])] == [-0.5, -1.0, -0.5]


@pytest.mark.slow
def test_unsupported_differences_are_hollow():
    for shift, supported in ((0, False), (1, True)):
        differences = plots.drawings(summarised(["a", "b"], shift=shift))[0]
        assert [filled for _, filled in markers_of(figure_of(differences).axes[0])] == [supported]


def test_scatter_plot_uses_unbiased_metrics_with_better_values_up_and_right():
    unbiased, biased = (plots.drawings(summarised(["a", "b"], leakage=kind))[1] for kind in ("none", "network"))
    (axes,) = figure_of(unbiased).axes
    assert axes.get_xlabel() == "cls (higher is better)"
    assert axes.get_ylabel() == "distance (lower is better)"
    assert axes.yaxis_inverted()
    assert not axes.xaxis_inverted()
    (axes,) = figure_of(biased).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lab (lower is better)", "ssim (lower is better)")


def test_one_method_has_no_plot_of_differences_and_an_empty_summary_no_plots():
    assert [drawing.name for drawing in plots.drawings(summarised(["a"]))] == ["scatter", "distributions"]
    assert not plots.drawings(EvaluationSummary(0, ImageCounts(0, 0, 0), {}, {}, {}, {}, {}))
