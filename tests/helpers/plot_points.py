"""Plots as lists of their contents, for tests that compare the files of two commands."""

from matplotlib.figure import Figure
from matplotlib.text import Text


def list_points(draw, size, style, **options):
    """List the points and texts of a plot in place of rendering it, which takes longer than the rest of a test."""
    figure = Figure(figsize=size)
    draw(figure)
    return f"<svg>{[list(contents(axes)) for axes in figure.axes]}</svg>".encode()


def contents(axes):
    yield from (line.get_xydata().tolist() for line in axes.lines)
    yield from (path.vertices.tolist() for collection in axes.collections for path in collection.get_paths())
    yield from (patch.get_bbox().bounds for patch in axes.patches)
    yield from (image.get_array().tolist() for image in axes.images)
    yield from (text.get_text() for text in axes.findobj(Text))
