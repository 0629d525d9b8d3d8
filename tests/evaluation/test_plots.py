from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.evaluation import plots
from vitsplice.evaluation.cases import CaseCounts, ImageCounts
from vitsplice.evaluation.summary import EvaluationSummary, summarise_pairs

LONG = [f"a-method-with-a-name-of-forty-letters-{number:02}" for number in range(8)]
AGAINST = {"distance": "structure", "ssim": "structure", "cls": "appearance", "lab": "appearance"}


def summarised(names, pairs=40, leakage="none", shift=0.5):
    """Summary in which each method differs from the previous one by ``shift``."""
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
    """Figure of a drawing, without its layout."""
    figure = Figure(figsize=drawing.size, layout="constrained")
    drawing.draw(figure)
    return figure


@pytest.mark.slow
@pytest.mark.parametrize("names", [LONG, ["one", "two"], LONG[:4]], ids=["eight", "two", "four"])
def test_labels_do_not_overlap_and_stay_inside(names):
    for drawing in plots.drawings(summarised(names)):
        figure = figure_of(drawing)
        FigureCanvasAgg(figure).draw()
        boxes = [text.get_window_extent() for axes in figure.axes for text in (*axes.get_yticklabels(), axes.title)]
        boxes += [text.get_window_extent() for legend in figure.legends for text in legend.get_texts()]
        boxes = [box for box in boxes if box.width]
        assert not [1 for first, second in combinations(boxes, 2) if first.overlaps(second)], drawing.name
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes), drawing.name


def marks(axes):
    """Mean difference of each marker of a forest plot, and whether it is filled."""
    bars = [container.lines[0] for container in axes.containers]
    return [(float(bar.get_xdata()[0]), bar.get_markerfacecolor() != "none") for bar in bars]


@pytest.mark.slow
def test_forest_plot_has_all_differences_of_few_methods_and_else_those_with_the_first():
    many, few = (plots.drawings(summarised(list(names)))[0] for names in ("abcdef", "abc"))
    figure = figure_of(many)
    assert [round(at, 1) for at, _ in marks(figure.axes[0])] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert "each method minus a" in many.caption
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [*"bcdef"]
    assert [round(at, 1) for at, _ in marks(figure_of(few).axes[0])] == [-0.5, -1.0, -0.5]


@pytest.mark.slow
def test_unsupported_differences_are_hollow():
    (axes, *_), (others, *_) = (
        figure_of(plots.drawings(summarised(["a", "b"], shift=shift))[0]).axes for shift in (0, 1)
    )
    assert [filled for _, filled in marks(axes)] == [False]
    assert [filled for _, filled in marks(others)] == [True]


def test_scatter_plot_uses_unbiased_metrics_with_better_values_up_and_right():
    unbiased, biased = (plots.drawings(summarised(["a", "b"], leakage=kind))[1] for kind in ("none", "network"))
    (axes,) = figure_of(unbiased).axes
    assert axes.get_xlabel() == "cls (higher is better)"
    assert axes.get_ylabel() == "distance (lower is better)"
    assert axes.yaxis_inverted()
    assert not axes.xaxis_inverted()
    (axes,) = figure_of(biased).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lab (lower is better)", "ssim (lower is better)")


def test_one_method_has_no_differences_and_no_values_have_no_plots():
    assert [drawing.name for drawing in plots.drawings(summarised(["a"]))] == ["scatter", "distributions"]
    assert not plots.drawings(EvaluationSummary(0, ImageCounts(0, 0, 0), {}, {}, {}, {}, {}))
