"""The output image of a run, its record as plain data, and descriptions of the record."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from vitsplice.runs.inputs import described
from vitsplice.text import duration

if TYPE_CHECKING:
    from torch import Tensor

    from vitsplice.config import RunConfig
    from vitsplice.engine.values import Step
    from vitsplice.metrics.values import MetricValue

REFERENCES = {"start": "before the first step", "unchanged": "the structure image"}
"""Images that are measured for comparison with the output, by the column of the table of metrics."""

PACKAGES = ("vitsplice", "torch", "torchvision", "timm", "kornia", "pillow", "numpy", "scipy")


@dataclass(frozen=True, eq=False)
class RunOutput:
    """The output image of a run, with its record.

    Args:
        pixels: the output image, float32 in [0, 1], ``(3, H, W)``, on the CPU.
        losses: losses of every step taken, in order.
        settings: the resolved settings, loadable as a preset.
        record: the content of ``run.json``, except for the metrics.
        finished: whether every step was taken.
        metrics: metrics of the output; empty if they were not measured.
        inputs: the images and masks, ``(3, H, W)`` each, by name (`vitsplice.runs.inputs`).
        provenance: see `vitsplice.Run.provenance`.
        input_paths: absolute paths of the files of the images and masks, without those that were read from memory.
    """

    pixels: Tensor
    losses: tuple[Step, ...]
    settings: RunConfig
    record: dict[str, Any]
    finished: bool
    metrics: tuple[MetricValue, ...] = ()
    inputs: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    provenance: Tensor | None = field(default=None, repr=False)
    input_paths: tuple[str, ...] = ()


def versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`, which may affect the bytes of an output."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def describe_seconds(record: Mapping[str, Any]) -> str:
    """Describe the duration of a run, or of its part since it was resumed."""
    resumed = record["steps"]["resumed_at"]
    return f"{duration(sum(record['seconds'].values()))}{f' since step {resumed}' if resumed else ''}"


def describe_sizes(sizes: Mapping[str, Any]) -> str:
    """Describe the working sizes and the output size of a run as text, width first."""
    *stages, output = (f"{size['width']}x{size['height']} px" for size in [*sizes["working"], sizes["output"]])
    return f"works at {', then '.join(stages)}; output {output}" if stages else f"output {output}"


def has_single_image(record: Mapping[str, Any]) -> bool:
    """Return whether the only appearance image of a run is its structure image, as in an inversion."""
    images = [image["sha256"] for image in record["inputs"].values()]
    return len(images) == 2 and images[0] == images[1]


def legend(columns: Iterable[str]) -> str:
    """Return the legend of a table of metrics with these columns."""
    meanings = [f"{column}: {REFERENCES[column]}" for column in columns if column in REFERENCES]
    return "; ".join(["lower is better", *meanings])


def input_entries(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the entries of all images and masks in the record of a run."""
    regions = record.get("regions", ())
    masks = [region[name] for region in regions for name in ("structure_mask", "appearance_mask") if region[name]]
    return [*record["inputs"].values(), *record["masks"].values(), *masks]


def image_names(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of each image and of ``both`` in reports; all are "image" if the run has a single image."""
    names = {name: described(name) for name in record["inputs"]} | {"both": "both images"}
    return dict.fromkeys(names, "image") if has_single_image(record) else names
