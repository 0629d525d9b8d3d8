"""``report.html``: a run on one page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitsplice.contracts import FeatureRequest
from vitsplice.runs.losses_plot import CAPTION, height_for, losses_figure, stage_marks
from vitsplice.runs.metadata import describe_sizes
from vitsplice.support.page import (
    Block,
    Details,
    Heading,
    ImageBlock,
    ImageRow,
    Properties,
    Slider,
    Table,
    Text,
    render,
)
from vitsplice.support.plots import plot

if TYPE_CHECKING:
    from torch import Tensor

    from vitsplice.metrics.values import MetricValue
    from vitsplice.runs.result import Result

PREVIEWS = 8
"""At most so many are shown, evenly chosen."""

SCALE = (
    "Lower is better; 0: no difference. Beside the output, as a scale: the image that it started from, and the "
    "unchanged structure image, to which nothing of the appearance was transferred."
)


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
    preset = f"preset {facts['preset']}, " if facts["preset"] else ""
    lead = (
        f"{preset}{taken} with {facts['backbone']['name']} on {facts['device']}, {sum(facts['seconds'].values()):.0f} s"
    )
    shown = [*_images(result), *_substitutions(facts), *_metrics(result, used)]
    shown += [*_previews(previews), *_losses(result), Heading("Inputs and settings"), _made_of(facts)]
    return render(_title(result), [*shown, *_settings(result, folder)], lead)


def _title(result: Result) -> str:
    structure, appearance = (Path(result.facts["inputs"][role]["name"]).name for role in ("structure", "appearance"))
    if features := _inverted(result):
        return f"What {' and '.join(features)} of {structure} holds"
    return f"The structure of {structure}, the appearance of {appearance}"


def one_image(facts: Mapping[str, Any]) -> bool:
    """Whether structure image and appearance image are one, as in an inversion."""
    return len({facts["inputs"][role]["sha256"] for role in ("structure", "appearance")}) == 1


def image_names(facts: Mapping[str, Any]) -> dict[str, str]:
    """What the images are called, by role: only "image" where both are one."""
    roles = ("structure", "appearance")
    return {role: "image" if one_image(facts) else f"{role} image" for role in roles}


def _inverted(result: Result) -> list[str]:
    """The features that a run inverted, if that is what it did: both inputs are the same image."""
    if not one_image(result.facts):
        return []
    layers = result.facts["backbone"]["layers"]
    return [
        FeatureRequest(term.facet, -1 if term.layer is None else term.layer).label(layers)
        for term in result.settings.terms.values()
        if term.facet and term.loss == "feature"
    ]


def _images(result: Result) -> list[Block]:
    """The output whole, and beside what it was made of; then over the structure image, behind a handle."""
    sizes = result.facts["sizes"]["output"]
    output = ImageBlock(result.pixels, "output", "the output image")
    blocks: list[Block] = [replace(output, caption=f"output, {sizes['width']}x{sizes['height']} px")]
    if not _inverted(result):
        blocks.append(_inputs(result))
    if "structure" in result.inputs:
        name = image_names(result.facts)["structure"]
        structure = ImageBlock(result.inputs["structure"], name, f"the {name}")
        blocks += [Heading(f"Output over {name}"), Slider(structure, output)]
    return blocks


def _inputs(result: Result) -> ImageRow:
    words = {role: f"{role.replace('_', ' ')}{'' if 'mask' in role else ' image'}" for role in result.inputs}
    return ImageRow([ImageBlock(pixels, words[role]) for role, pixels in result.inputs.items()])


def _substitutions(facts: dict[str, Any]) -> list[Block]:
    return [
        Text(
            f"Backbone '{one['wanted']}' could not be had; '{one['used']}' was used instead. {one['why']}",
            highlighted=True,
        )
        for one in facts["substitutions"]
    ]


def _metrics(result: Result, used: set[str]) -> list[Block]:
    if not result.metrics:
        return []
    columns = ["metric", "output", "start", "unchanged structure image", "against", ""]
    names = image_names(result.facts)
    rows: list[list[str | float | None]] = [
        [one.name, one.value, one.start, one.unchanged, names[one.against], "; ".join(_remarks(one, used))]
        for one in result.metrics
    ]
    return [Heading("Metrics"), Table(columns, rows, SCALE)]


def _remarks(metric: MetricValue, used: set[str]) -> list[str]:
    optimised = ["optimised by this run"] if used.intersection(metric.optimised_by) else []
    return optimised + ([f"not measured: {metric.reason}"] if metric.reason else [])


def _previews(previews: Sequence[tuple[int, Path]]) -> list[Block]:
    if not previews:
        return []
    most = min(PREVIEWS, len(previews))
    chosen = [previews[round(n * (len(previews) - 1) / max(1, most - 1))] for n in range(most)]
    images = [ImageBlock(_read(path), f"after step {step}" if step else "the start") for step, path in chosen]
    return [Heading("Over time"), ImageRow(images)]


def _read(path: Path) -> Tensor:
    from vitsplice.images import read

    return read(path).pixels[0]


def _losses(result: Result) -> list[Block]:
    if not any(step.losses for step in result.losses):
        return []
    steps, names, marks = result.losses, list(result.settings.terms), stage_marks(result)
    size = (7, height_for(steps, names))
    caption = f"{CAPTION}{' Dashed: a stage begins, at the size above it.' if marks else ''}"
    return [Heading("Losses"), plot(lambda figure: losses_figure(figure, steps, names, marks), size, caption)]


def _made_of(facts: dict[str, Any]) -> Properties:
    backbone = facts["backbone"]
    images = {
        image_names(facts)[role]: f"{one['name']}, {one['width']}x{one['height']} px, {_digest(one)}"
        for role, one in list(facts["inputs"].items())[: 1 if one_image(facts) else None]
    }
    images |= {f"{image} mask": f"{one['name']}, {_digest(one)}" for image, one in facts["masks"].items()}
    weights = f"{backbone['source']}, {backbone['licence']}, SHA-256 {backbone['sha256'] or 'none: random'}"
    run = [
        *([("preset", facts["preset"])] if facts["preset"] else []),
        ("sizes", describe_sizes(facts["sizes"])),
        ("backbone", f"{backbone['name']} ({backbone['model']})"),
        ("weights", weights),
        ("device", f"{facts['device']}, {facts['precision']}, {facts['threads']} threads"),
        ("seed", str(facts["seed"])),
        ("seconds", ", ".join(f"{name} {value:.1f}" for name, value in facts["seconds"].items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())),
    ]
    return Properties([*images.items(), *run])


def _digest(image: Mapping[str, Any]) -> str:
    return "; ".join([f"SHA-256 {image['sha256']}", *image["notes"]])


def _settings(result: Result, folder: Path) -> list[Block]:
    paths = [shlex.quote(result.facts["inputs"][role]["name"]) for role in ("structure", "appearance")]
    masks = [f"--{image}-mask {shlex.quote(mask['name'])}" for image, mask in result.facts["masks"].items()]
    preset = shlex.quote(str(folder / "run.yaml"))
    again = " ".join(["vitsplice run", *paths, "--preset", preset, *masks, "-o again"])
    return [
        Text(f"The same again, from where it was run: {again}"),
        Details("Settings (run.yaml)", result.settings.to_yaml()),
    ]
