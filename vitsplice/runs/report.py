"""``report.html``: the report of a run on one page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitsplice.contracts import FeatureRequest
from vitsplice.engine.backbones import Substitution
from vitsplice.errors import ImageError
from vitsplice.images import read
from vitsplice.metrics.leakage import REMARKS
from vitsplice.presets.changes import Changes
from vitsplice.runs.inputs import Region, appearances_of, described, parse_region, region_text
from vitsplice.runs.losses_plot import CAPTION, height_for, losses_figure, stage_marks
from vitsplice.runs.provenance import colour_name, provenance_map
from vitsplice.runs.record import describe_seconds, describe_sizes, has_single_image, image_names, input_entries
from vitsplice.runs.repeat import command_line
from vitsplice.support.files import file_sha256
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
    from vitsplice.runs.record import RunOutput

MAX_PREVIEWS = 8
"""Maximum number of previews in the report, evenly spaced."""

METRICS_NOTE = (
    "Lower is better; 0 is the best possible value. For comparison: the start, and the unchanged structure image, to "
    "which no appearance was transferred."
)

MEANS_NOTE = "With several appearance images, a value is the weighted mean of the values for each image."


def report(result: RunOutput, previews: Sequence[tuple[int, Path]] = (), folder: Path = Path()) -> str:
    """Render the report of a run as one HTML file.

    Args:
        result: output of the run.
        previews: number of steps and path of each preview, in order.
        folder: folder of the run, for the command that repeats it.
    """
    record = result.record
    taken, requested = record["steps"]["taken"], record["steps"]["requested"]
    steps = f"{taken} steps" if result.finished else f"stopped after {taken} of {requested} steps"
    preset = f"preset {record['preset']}, " if record["preset"] else ""
    names = " and ".join(backbone["name"] for backbone in record["backbones"].values())
    lead = f"{preset}{steps} with {names} on {record['device']}, {describe_seconds(record)}"
    blocks = [*_images(result), *_provenance(result), *substitutions(record), *_metrics(result)]
    blocks += [*_previews(previews), *_losses(result), Heading("Inputs and settings"), _inputs_and_versions(record)]
    return render(_title(result), [*blocks, *_settings(result, folder)], lead)


def _title(result: RunOutput) -> str:
    names = {name: Path(image["name"]).name for name, image in result.record["inputs"].items()}
    structure, appearance = names["structure"], " and ".join(names[name] for name in appearances_of(names))
    if features := _inverted_features(result):
        return f"Inversion of {' and '.join(features)} of {structure}"
    return f"The structure of {structure}, the appearance of {appearance}"


def _inverted_features(result: RunOutput) -> list[str]:
    """Return labels of the features that an inversion optimised; empty for a transfer."""
    if not has_single_image(result.record):
        return []
    settings, backbones = result.settings, result.record["backbones"]
    return [
        FeatureRequest(term.facet, -1 if term.layer is None else term.layer).label(
            backbones[settings.backbone_key_of(term)]["layers"]
        )
        for term in settings.terms.values()
        if term.facet and term.loss == "feature"
    ]


def _images(result: RunOutput) -> list[Block]:
    """Return the output, the inputs (except for an inversion), and the output over the structure image."""
    sizes = result.record["sizes"]["output"]
    output = ImageBlock(result.pixels, "output", "the output image")
    blocks: list[Block] = [replace(output, caption=f"output, {sizes['width']}x{sizes['height']} px")]
    if not _inverted_features(result):
        blocks.append(ImageRow([ImageBlock(pixels, described(name)) for name, pixels in result.inputs.items()]))
    if "structure" in result.inputs:
        name = image_names(result.record)["structure"]
        structure = ImageBlock(result.inputs["structure"], name, f"the {name}")
        blocks += [Heading(f"Output over {name}"), Slider(structure, output)]
    return blocks


def _provenance(result: RunOutput) -> list[Block]:
    if result.provenance is None:
        return []
    height, width = result.pixels.shape[-2:]
    shares = result.record["appearance_shares"]
    legend = [f"{colour_name(index)}: {described(name)}, {shares[name]:.0%}" for index, name in enumerate(shares)]
    image = ImageBlock(
        provenance_map(result.provenance, (height, width)), "; ".join(legend), "map of appearance images"
    )
    return [Heading("Appearance image that each patch is matched with"), image]


def substitutions(record: dict[str, Any]) -> list[Block]:
    """Return a note on each backbone that a fallback replaced, from the content of ``run.json`` or ``video.json``."""
    return [Text(str(Substitution(**values)), highlighted=True) for values in record["substitutions"]]


def _metrics(result: RunOutput) -> list[Block]:
    if not result.metrics:
        return []
    columns = ["metric", "output", "start", "unchanged structure image", "compared with", ""]
    names = image_names(result.record)
    rows: list[list[str | float | None]] = [
        [m.name, m.value, m.start, m.unchanged, names[m.against], "; ".join(_remarks(m))] for m in result.metrics
    ]
    caption = f"{METRICS_NOTE} {MEANS_NOTE}" if "appearance_weights" in result.record else METRICS_NOTE
    return [Heading("Metrics"), Table(columns, rows, caption)]


def _remarks(metric: MetricValue) -> list[str]:
    leakage = [REMARKS[metric.leakage]] if metric.leakage in REMARKS else []
    return leakage + ([f"not measured: {metric.reason}"] if metric.reason else [])


def _previews(previews: Sequence[tuple[int, Path]]) -> list[Block]:
    if not previews:
        return []
    count = min(MAX_PREVIEWS, len(previews))
    chosen = [previews[round(n * (len(previews) - 1) / max(1, count - 1))] for n in range(count)]
    images = [
        ImageBlock(pixels, f"step {step}" if step else "the start")
        for step, path in chosen
        if (pixels := _read(path)) is not None
    ]
    return [Heading("Previews"), ImageRow(images)] if images else []


def _read(path: Path) -> Tensor | None:
    """Read a preview; None if it cannot be read, so that the report is written without it."""
    try:
        return read(path).pixels[0]
    except ImageError:
        return None


def _losses(result: RunOutput) -> list[Block]:
    if not any(step.losses for step in result.losses):
        return []
    steps, names, marks = result.losses, list(result.settings.terms), stage_marks(result)
    size = (7, height_for(steps, names))
    caption = f"{CAPTION}{' Dashed lines: first step of each later stage, with its working size.' if marks else ''}"
    return [Heading("Losses"), plot(lambda figure: losses_figure(figure, steps, names, marks), size, caption)]


def _inputs_and_versions(record: dict[str, Any]) -> Properties:
    images = {
        image_names(record)[role]: f"{image['name']}, {image['width']}x{image['height']} px, {_digest(image)}"
        for role, image in list(record["inputs"].items())[: 1 if has_single_image(record) else None]
    }
    images |= {described(f"{name}_mask"): f"{mask['name']}, {_digest(mask)}" for name, mask in record["masks"].items()}
    for number, region in enumerate(record.get("regions", ()), 1):
        for name in ("structure_mask", "appearance_mask"):
            if mask := region[name]:
                images[described(f"region_{number}_{name}")] = f"{mask['name']}, {_digest(mask)}"
    weights = ", ".join(f"{weight:g}" for weight in record.get("appearance_weights", {}).values())
    run = [
        *([("weights of the appearance images", weights)] if weights else []),
        *([("preset", record["preset"])] if record["preset"] else []),
        ("sizes", describe_sizes(record["sizes"])),
        *(row for backbone in record["backbones"].values() for row in _backbone_rows(backbone)),
        ("device", f"{record['device']}, {record['precision']}, {record['threads']} CPU threads"),
        ("seed", str(record["seed"])),
        ("seconds", ", ".join(f"{name} {value:.1f}" for name, value in record["seconds"].items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items())),
    ]
    return Properties([*images.items(), *run])


def _backbone_rows(backbone: Mapping[str, Any]) -> list[tuple[str, str]]:
    weights = f"{backbone['source']}, {backbone['licence']}, SHA-256 {backbone['sha256'] or 'none (random weights)'}"
    return [("backbone", f"{backbone['name']} ({backbone['model']})"), ("weights", weights)]


def _region(region: Mapping[str, Any], record: Mapping[str, Any]) -> Region:
    """Return a region from its entry in the record of a run; the masks are paths."""
    mask = region["appearance_mask"]
    appearance = appearances_of(record["inputs"]).index(region["appearance"])
    return Region(region["structure_mask"]["name"], appearance, mask and mask["name"])


def _digest(image: Mapping[str, Any]) -> str:
    return "; ".join([f"SHA-256 {image['sha256']}", *image["notes"]])


def _settings(result: RunOutput, folder: Path) -> list[Block]:
    record = result.record
    images = {name: image["name"] for name, image in record["inputs"].items()}
    images |= {f"{name}_mask": mask["name"] for name, mask in record["masks"].items()}
    weights = list(record.get("appearance_weights", {}).values())
    settings = Details("Settings (run.yaml)", result.settings.to_yaml())
    regions = [_region(region, record) for region in record.get("regions", ())]
    if not all(map(_is_recorded_file, input_entries(record))):
        return [settings]  # an image is from memory, was edited, or has a path relative to another folder
    if any(parse_region(region_text(region), len(appearances_of(images))) != region for region in regions):
        return [settings]  # a "=" in the path of a mask
    command = command_line(images, Changes(str(folder / "run.yaml")), "again", weights, regions)
    return [Text(f"To repeat the run, use this command in the folder that the run was started in: {command}"), settings]


def _is_recorded_file(entry: Mapping[str, Any]) -> bool:
    """Return whether the name of an image is the path of a file with the recorded digest."""
    try:
        return os.path.isfile(entry["name"]) and file_sha256(entry["name"]) == entry["sha256"]
    except OSError:
        return False
