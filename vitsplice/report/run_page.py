"""``report.html``: a run on one page."""

from __future__ import annotations

import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitsplice.contracts import layer_label
from vitsplice.report.page import (
    Block,
    Details,
    Facts,
    Heading,
    Picture,
    Pictures,
    Plot,
    Slider,
    Table,
    Text,
    plot,
    render,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from vitsplice.engine.loop import Step
    from vitsplice.figures import Figure as Measured
    from vitsplice.result import Result

PREVIEWS = 8
"""At most so many are shown, evenly chosen."""

POINTS = 400
"""A loss is drawn with at most so many points."""


def report(result: Result, used: set[str], previews: Sequence[tuple[int, Path]] = (), folder: Path = Path()) -> str:
    """The report as HTML, one file.

    Args:
        result: of the run.
        used: the loss terms that had a part in it.
        previews: steps and files, in order.
        folder: that holds its ``run.yaml``.
    """
    facts = result.facts
    steps = facts["steps"]
    taken = (
        f"{steps['taken']} steps" if result.finished else f"stopped after {steps['taken']} of {steps['asked']} steps"
    )
    lead = f"{taken} with {facts['backbone']['name']} on {facts['device']}, {sum(facts['seconds'].values()):.0f} s"
    inputs = [] if _inverted(result) else [_inputs(result)]
    shown = [_slider(result), *inputs, *_substitutions(facts), *_figures(result, used)]
    shown += [*_previews(previews), *_losses(result), Heading("Made of"), _made_of(facts)]
    return render(_title(result), [*shown, *_settings(result, folder)], lead)


def _title(result: Result) -> str:
    structure, appearance = (Path(result.facts["inputs"][role]["name"]).name for role in ("structure", "appearance"))
    if features := _inverted(result):
        return f"What {' and '.join(features)} of {structure} holds"
    return f"The structure of {structure}, the appearance of {appearance}"


def _inverted(result: Result) -> list[str]:
    """The features that a run inverted, if that is what it did: both inputs are the same picture."""
    if len({result.facts["inputs"][role]["sha256"] for role in ("structure", "appearance")}) > 1:
        return []
    layers = result.facts["backbone"]["layers"]
    return [
        f"{term.facet} at layer {layer_label(-1 if term.layer is None else term.layer, layers)}"
        for term in result.settings.terms.values()
        if term.facet and term.loss == "feature"
    ]


def losses_figure(figure: Figure, steps: Sequence[Step], names: Sequence[str]) -> None:
    """Draw one panel a term that ran: its unweighted value (log scale) over the steps."""
    shown = [name for name in names if any(name in step.losses for step in steps)]
    for row, name in enumerate(shown):
        points = [(step.index, step.losses[name]) for step in steps if name in step.losses]
        points = points[:: -(-len(points) // POINTS)]
        axes = figure.add_subplot(len(shown), 1, row + 1)
        axes.plot(*zip(*points, strict=True), marker="o" if len(points) < 40 else None, markersize=2.5, linewidth=1)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        if all(value > 0 for _, value in points):
            axes.set_yscale("log")
    figure.supxlabel("step")


def height_for(steps: Sequence[Step], names: Sequence[str]) -> float:
    """Of the figure of losses, in inches."""
    return 1.2 + 1.5 * sum(any(name in step.losses for step in steps) for name in names)


def losses_png(steps: Sequence[Step], names: Sequence[str]) -> bytes:
    """The losses as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, height_for(steps, names)), layout="constrained")
    FigureCanvasAgg(figure)
    losses_figure(figure, steps, names)
    figure.suptitle("loss terms, unweighted; lower is better")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    return png.getvalue()


def _slider(result: Result) -> Slider | Picture:
    output = Picture(result.pixels, "output", "the output image")
    if "structure" not in result.inputs:
        return output
    return Slider(Picture(result.inputs["structure"], "structure image", "the structure image"), output)


def _inputs(result: Result) -> Pictures:
    words = {role: f"{role.replace('_', ' ')}{'' if 'mask' in role else ' image'}" for role in result.inputs}
    return Pictures([Picture(pixels, words[role]) for role, pixels in result.inputs.items()])


def _substitutions(facts: dict[str, Any]) -> list[Block]:
    return [
        Text(f"Backbone '{one['wanted']}' could not be had; '{one['used']}' was used instead. {one['why']}", loud=True)
        for one in facts["substitutions"]
    ]


def _figures(result: Result, used: set[str]) -> list[Block]:
    if not result.figures:
        return []
    rows: list[list[str | float | None]] = [
        [figure.name, figure.value, f"{figure.against} image", "; ".join(_remarks(figure, used))]
        for figure in result.figures
    ]
    return [Heading("Figures"), Table(["figure", "value", "against", ""], rows, "Lower is better.")]


def _remarks(figure: Measured, used: set[str]) -> list[str]:
    own = ["optimised by this run"] if figure.akin in used else []
    return own + ([f"not measured: {figure.why}"] if figure.why else [])


def _previews(previews: Sequence[tuple[int, Path]]) -> list[Block]:
    if not previews:
        return []
    step = max(1, -(-len(previews) // PREVIEWS))
    return [
        Heading("Over time"),
        Pictures([Picture(_read(path), f"step {n}") for n, path in previews[step - 1 :: step]]),
    ]


def _read(path: Path) -> Tensor:
    from vitsplice.images import read

    return read(path).pixels[0]


def _losses(result: Result) -> list[Block]:
    if not any(step.losses for step in result.losses):
        return []
    return [Heading("Losses"), _plot(result.losses, list(result.settings.terms))]


def _plot(steps: Sequence[Step], names: Sequence[str]) -> Plot:
    caption = "Each term, unweighted; lower is better."
    return plot(lambda figure: losses_figure(figure, steps, names), (7, height_for(steps, names)), caption)


def _made_of(facts: dict[str, Any]) -> Facts:
    backbone = facts["backbone"]
    pictures = [
        (
            f"{role} image",
            f"{one['name']}, {one['width']}x{one['height']} px, SHA-256 {one['sha256']}{_noted(one['notes'])}",
        )
        for role, one in facts["inputs"].items()
    ]
    masks = [(f"{image} mask", f"{one['name']}, SHA-256 {one['sha256']}") for image, one in facts["masks"].items()]
    weights = f"{backbone['source']}, {backbone['licence']}, SHA-256 {backbone['sha256'] or 'none: random'}"
    run = [
        ("backbone", f"{backbone['name']} ({backbone['model']})"),
        ("weights", weights),
        ("device", f"{facts['device']}, {facts['precision']}, {facts['threads']} threads"),
        ("seed", str(facts["seed"])),
        ("seconds", ", ".join(f"{name} {value:.1f}" for name, value in facts["seconds"].items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())),
    ]
    return Facts([*pictures, *masks, *run])


def _noted(notes: Sequence[str]) -> str:
    return "".join(f"; {note}" for note in notes)


def _settings(result: Result, folder: Path) -> list[Block]:
    paths = [shlex.quote(result.facts["inputs"][role]["name"]) for role in ("structure", "appearance")]
    masks = [f"--{image}-mask {shlex.quote(mask['name'])}" for image, mask in result.facts["masks"].items()]
    preset = shlex.quote(str(folder / "run.yaml"))
    again = " ".join(["vitsplice run", *paths, "--preset", preset, *masks, "-o again"])
    return [
        Text(f"The same again, from where it was run: {again}"),
        Details("Settings (run.yaml)", result.settings.to_yaml()),
    ]
