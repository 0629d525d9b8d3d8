import io
import sys
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageColor

from vitsplice.metrics.statistics import MeanInterval
from vitsplice.support.plots import COLOURS, Drawing, error_bars, png, styles

BACKGROUNDS = ("#fcfbf8", "#191817")
"""Backgrounds of a page, light and dark."""

MATRICES = {
    "trichromacy": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
"""Matrix from linear RGB to the perceived linear RGB, by colour vision (Machado et al. 2009, severity 1)."""

TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    value = np.array(ImageColor.getrgb(colour)) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(colour, matrix):
    xyz = TO_XYZ @ np.clip(np.asarray(matrix) @ linear(colour), 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(first, second):
    low, high = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (first, second))
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_on_light_and_on_dark_pages():
    assert min(contrast(colour, background) for colour in COLOURS for background in BACKGROUNDS) >= 3  # WCAG 2, 1.4.11


def test_colours_can_be_distinguished_with_a_colour_deficiency():
    for matrix in MATRICES.values():
        for first, second in combinations(COLOURS, 2):
            assert np.linalg.norm(lab(first, matrix) - lab(second, matrix)) > 15, (first, second)


def test_24_series_have_different_styles():
    all_styles = [tuple(style.values()) for style in styles(map(str, range(24))).values()]
    assert len(set(all_styles)) == 24
    assert len({marker for _, marker, _ in all_styles[:8]}) == 8


def test_error_bars_reach_to_the_ends_of_intervals():
    without_interval = MeanInterval(2.0, float("nan"), float("nan"), 1, "")
    assert error_bars([MeanInterval(1.0, 0.5, 3.0, 9, "bootstrap"), without_interval]).tolist() == [[0.5, 0], [2, 0]]


@pytest.mark.slow
def test_png_has_the_given_size_and_the_same_bytes_each_time():
    drawing = Drawing("name", lambda figure: figure.add_subplot().plot([1, 2]), (4, 2), "caption")
    data = drawing.png()
    assert data == png(drawing.draw, drawing.size)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (600, 300)
    assert drawing.plot().caption == "caption"


@pytest.mark.slow
def test_settings_of_matplotlib_do_not_change_a_plot():
    drawing = Drawing("name", lambda figure: figure.add_subplot().plot([1, 2]), (2, 1), "caption")
    expected = drawing.png(), drawing.plot()
    with matplotlib.rc_context({"axes.facecolor": "black", "lines.linewidth": 5, "savefig.dpi": 40}):
        assert (drawing.png(), drawing.plot()) == expected
        assert matplotlib.rcParams["lines.linewidth"] == 5


def draw(words):
    """Draw a plot; print whether pyplot is imported, and the name of the backend."""
    matplotlib.rcParams["backend"] = "svg"
    png(lambda figure: figure.add_subplot().plot([1, 2]), (2, 1))
    print("matplotlib.pyplot" in sys.modules, matplotlib.rcParams["backend"])
    return 0


@pytest.mark.slow
def test_plot_neither_imports_pyplot_nor_changes_the_backend(processes, tmp_path):
    ended = processes.run([], tmp_path, program=draw)
    assert (ended.code, ended.stdout) == (0, "False svg\n"), ended.stderr
