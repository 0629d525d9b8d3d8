"""Command line and Python code that repeat a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from vitsplice.presets.changes import Changes
from vitsplice.runs.inputs import Region, as_arguments, as_sequence, region_text

OUT = "vitsplice-out"
"""Default folder of the output, the same as that of the command line."""

NO_MASK = "-"
"""Value of ``--appearance-mask`` for an appearance image without a mask."""


def command_line(
    images: Mapping[str, str],
    changes: Changes,
    out: str = OUT,
    weights: Sequence[float] = (),
    regions: Sequence[Region] = (),
) -> str:
    """Return the shell command of a run, on one line.

    Args:
        images: paths of the images and of their masks by name, such as ``appearance_2_mask``
            (`vitsplice.runs.inputs.is_input_name`); masks of regions are ignored, see ``regions``.
        changes: preset and changes of its settings.
        out: folder of the output.
        weights: weight of each appearance image; empty: all are 1.
        regions: regions whose masks are paths as text (``str``); ``appearance`` is the number (from 0) or the path of
            an image.
    """
    arguments = as_arguments(images)
    appearances = as_sequence(arguments["appearance"])
    options: list[tuple[str, Any]] = [("preset", changes.preset), *changes.arguments.items()]
    if _have_effect(weights):
        weighted = zip(appearances, weights, strict=True)
        options, appearances = [("appearance", f"{path}:{weight}") for path, weight in weighted] + options, []
    if structure_mask := arguments.get("structure_mask"):
        options.append(("structure_mask", structure_mask))
    if "appearance_mask" in arguments:
        options += [("appearance_mask", mask or NO_MASK) for mask in as_sequence(arguments["appearance_mask"])]
    options += [("region", region_text(region)) for region in regions]
    words = ["vitsplice", "run", *map(_without_leading_dash, [arguments["structure"], *appearances])]
    for name, value in options:
        words += [f"--{name.replace('_', '-')}", str(value)]
    for override in changes.overrides:
        words += ["--set", override]
    return shlex.join([*words, "-o", out])


def _without_leading_dash(path: str) -> str:
    return f"./{path}" if path.startswith("-") else path


def python_code(
    images: Mapping[str, str],
    changes: Changes,
    out: str = OUT,
    weights: Sequence[float] = (),
    regions: Sequence[Region] = (),
) -> str:
    """Return Python code that repeats a run and can be executed as it is. Arguments as for `command_line`."""
    arguments = as_arguments(images)
    structure, appearance = arguments.pop("structure"), arguments.pop("appearance")
    keywords = {**changes.arguments, **arguments}
    if _have_effect(weights):
        keywords["appearance_weights"] = list(weights)
    if regions:
        keywords["regions"] = list(regions)
    if changes.overrides:
        keywords["overrides"] = list(changes.overrides)
    values = [*map(repr, (structure, appearance, changes.preset))]
    values += [f"{name}={value!r}" for name, value in keywords.items()]
    code = "".join(f"    {value},\n" for value in values)
    names = "Region, splice" if regions else "splice"
    return f"from vitsplice import {names}\n\nresult = splice(\n{code})\nresult.save({out!r})\n"


def _have_effect(weights: Sequence[float]) -> bool:
    """Return whether weights can change the output; equal ones other than 1 can, by floating-point rounding."""
    return len(weights) > 1 and any(weight != 1 for weight in weights)
