from dataclasses import replace
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

import vitsplice
from vitsplice.engine.values import Step
from vitsplice.presets.settings import settings_for
from vitsplice.runs.losses_plot import (
    MAX_POINTS,
    curves,
    height_for,
    losses_figure,
    losses_png,
    running_mean,
    stage_marks,
)

STEPS = [Step(n, 2.0 + n, {"often": 1.0 + n} | ({"rare": 1.0 + n} if n % 75 == 0 else {})) for n in range(2800)]


def drawn(*arguments):
    figure = Figure()
    losses_figure(figure, *arguments)
    return figure.axes


def test_total_is_plotted_first_and_inactive_terms_are_omitted():
    steps = [*STEPS[:4], Step(4, 0.0, {})]
    assert list(curves(steps, ["often", "never"])) == ["total", "often"]
    assert curves(steps, ["often"])["total"] == [(0, 2.0), (1, 3.0), (2, 4.0), (3, 5.0)]
    assert [axes.get_ylabel() for axes in drawn(steps, ["often", "never"])] == ["total", "often"]
    assert height_for(steps, ["often", "never"]) == pytest.approx(1.2 + 2 * 1.5)  # two curves


@pytest.mark.slow
@pytest.mark.parametrize("steps", [STEPS[:2], [Step(0, 0.0, {"often": 0.0})], []])
def test_losses_plot_is_a_png_also_for_zero_losses_and_no_steps(steps):
    assert losses_png(steps, ["often", "rare", "never"]).startswith(b"\x89PNG")


def test_frequent_terms_are_subsampled_and_rare_terms_are_not():
    total, often, rare = (axes.lines[0].get_xdata() for axes in drawn(STEPS, ["often", "rare"]))
    assert MAX_POINTS / 2 < len(often) <= MAX_POINTS
    assert list(total) == list(often)
    assert list(rare) == list(range(0, 2800, 75))


@pytest.mark.parametrize(("losses", "labels"), [((0.06, 0.25), ["0.1"]), ((3e-6, 0.02), ["1e-05", "0.001"])])
def test_labels_of_the_log_scale_are_numbers_without_mathtext(losses, labels):
    figure = Figure()
    losses_figure(figure, [Step(n, loss, {"often": loss}) for n, loss in enumerate(losses)], ["often"])
    figure.draw_without_rendering()
    axis = figure.axes[0].yaxis
    shown = [label.get_text() for label in (*axis.get_majorticklabels(), *axis.get_minorticklabels())]
    assert set(labels) <= set(shown)
    assert not any("$" in text for text in shown)


def test_only_curves_of_many_points_have_a_smoothed_line():
    total, _, rare = drawn(STEPS, ["often", "rare"])
    assert len(total.lines) == 2
    assert len(rare.lines) == 1


def test_running_mean_preserves_straight_lines_and_attenuates_noise():
    line = [float(n) for n in range(100)]
    assert running_mean(line)[5:-5] == pytest.approx(line[5:-5])
    smooth = running_mean([(-1.0) ** n for n in range(100)])
    assert max(map(abs, smooth)) < 0.3
    assert running_mean([3.0]) == [3.0]


def test_stages_are_marked_at_their_first_step_with_their_size():
    axes = drawn(STEPS[:200], ["often"], [(110, "252x252 px")])
    assert all([110, 110] in [list(line.get_xdata()) for line in plot.lines] for plot in axes)
    assert [text.get_text().strip() for text in axes[0].texts] == ["252x252 px"]


def test_stages_that_a_stopped_run_has_not_reached_are_not_marked():
    settings = settings_for("tiny", steps=20, overrides=["stages=[{side: 16, share: 3}, {side: 32, share: 2}]"])
    working = [{"width": side, "height": side} for side in (16, 32)]
    sizes = {"output": {"width": 40, "height": 40}, "working": working}
    for taken, marks in ((20, [(12, "32x32 px")]), (13, [(12, "32x32 px")]), (12, [])):
        assert stage_marks(SimpleNamespace(settings=settings, record={"sizes": sizes}, losses=STEPS[:taken])) == marks


@pytest.mark.slow
def test_stages_that_a_run_has_reached_are_marked_except_the_first(pair):
    overrides = ["stages=[{side: 16, share: 3}, {side: 32, share: 2}]", "size=40"]
    result = vitsplice.splice(*pair, preset="tiny", overrides=overrides)
    size = result.record["sizes"]["working"][1]
    assert stage_marks(result) == [(3, f"{size['width']}x{size['height']} px")]
    assert stage_marks(replace(result, losses=result.losses[:3])) == []  # stopped in its first stage
    plain = vitsplice.splice(*pair, preset="tiny", steps=1)
    assert stage_marks(plain) == []


def test_step_axis_has_integer_ticks() -> None:
    figure = Figure()
    losses_figure(figure, [Step(index, 1.0, {"structure": 1.0}) for index in range(18)], ["structure"])
    assert all(float(tick).is_integer() for axes in figure.axes for tick in axes.get_xticks())
