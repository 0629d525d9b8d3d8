from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.evaluation import plots
from vitsplice.evaluation.account import Account
from vitsplice.evaluation.cases import Measured
from vitsplice.evaluation.outputs import Method
from vitsplice.evaluation.summary import Summary, _of_pairs

LONG = [f"a-method-with-a-name-of-forty-letters-{number:02}" for number in range(8)]
AGAINST = {"distance": "structure", "ssim": "structure", "cls": "appearance", "lab": "appearance"}


def summarised(names, pairs=40, own="no", shift=0.5):
    """A summary of metrics of two images; each method is better than the one before it by so much."""
    noise = np.random.default_rng(0)
    metrics = {}
    for metric, against in AGAINST.items():
        better = "higher" if metric == "cls" else "lower"
        table = np.array([noise.normal(shift * row, 0.1, pairs) for row in range(len(names))])
        owned = dict.fromkeys(names, own if metric in ("distance", "cls") else "no")
        methods = tuple(Method(name, Path()) for name in names)
        spec = MetricSpec(metric, lambda context: None, "", better=better, against=against)
        metrics[metric] = _of_pairs(spec, Metric(lambda case: 0.0), methods, table, np.isfinite(table), {}, owned)
    accounts, nothing = {name: Account(pairs) for name in names}, dict.fromkeys(names)
    return Summary(pairs, accounts, nothing, metrics, dict.fromkeys(names, 1.0), {}, Measured(pairs, pairs, pairs))


def drawn(drawing):
    figure = Figure(figsize=drawing.size, layout="constrained")
    drawing.draw(figure)
    FigureCanvasAgg(figure).draw()
    return figure


@pytest.mark.parametrize("names", [LONG, ["one", "two"], LONG[:4]], ids=["eight", "two", "four"])
def test_labels_neither_overlap_nor_stick_out(names):
    for drawing in plots.drawings(summarised(names)):
        figure = drawn(drawing)
        boxes = [text.get_window_extent() for axes in figure.axes for text in (*axes.get_yticklabels(), axes.title)]
        boxes += [text.get_window_extent() for legend in figure.legends for text in legend.get_texts()]
        boxes = [box for box in boxes if box.width]
        assert not [1 for one, two in combinations(boxes, 2) if one.overlaps(two)], drawing.name
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes), drawing.name


def marks(axes):
    """Of a forest plot: where each difference is, and whether it is filled."""
    bars = [container.lines[0] for container in axes.containers]
    return [(float(bar.get_xdata()[0]), bar.get_markerfacecolor() != "none") for bar in bars]


def test_the_forest_has_each_method_minus_the_first_and_every_two_of_a_few():
    many, few = (plots.drawings(summarised(list(names)))[0] for names in ("abcdef", "abc"))
    figure = drawn(many)
    assert [round(at, 1) for at, _ in marks(figure.axes[0])] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert "each method minus a" in many.caption
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [*"bcdef"]
    assert [round(at, 1) for at, _ in marks(drawn(few).axes[0])] == [-0.5, -1.0, -0.5]


def test_a_difference_that_the_pairs_do_not_support_is_hollow():
    (axes, *_), (others, *_) = (drawn(plots.drawings(summarised(["a", "b"], shift=shift))[0]).axes for shift in (0, 1))
    assert [filled for _, filled in marks(axes)] == [False]
    assert [filled for _, filled in marks(others)] == [True]


def test_the_scatter_takes_metrics_that_no_method_optimised_and_runs_towards_better():
    fair, owned = (plots.drawings(summarised(["a", "b"], own=own))[1] for own in ("no", "network"))
    (axes,) = drawn(fair).axes
    assert axes.get_xlabel() == "cls (higher is better)"
    assert axes.get_ylabel() == "distance (lower is better)"
    assert axes.yaxis_inverted()
    assert not axes.xaxis_inverted()
    (axes,) = drawn(owned).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lab (lower is better)", "ssim (lower is better)")


def test_one_method_has_no_differences_and_nothing_measured_no_plot():
    assert [drawing.name for drawing in plots.drawings(summarised(["a"]))] == ["scatter", "distributions"]
    assert not plots.drawings(Summary(0, {}, {}, {}, {}, {}, Measured(0, 0, 0)))
