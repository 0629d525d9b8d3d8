"""Command line and Python code that repeat a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from vitsplice.presets.changes import Changes

OUT = "vitsplice-out"
"""Default folder of the output."""


def command_line(images: Mapping[str, str], changes: Changes, out: str = OUT) -> str:
    """Return the shell command of a run, on one line.

    Args:
        images: path of each image by name (`vitsplice.runs.recorder.IMAGE_NAMES`).
        changes: preset and changes of its settings.
        out: folder of the output.
    """
    structure, appearance, *masks = _ordered(images).items()
    options = {"preset": changes.preset, **changes.arguments, **dict(masks)}
    words = ["vitsplice", "run", structure[1], appearance[1]]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    for override in changes.overrides:
        words += ["--set", override]
    return shlex.join([*words, "-o", out])


def python_code(images: Mapping[str, str], changes: Changes, out: str = OUT) -> str:
    """Return Python code of a run that can be executed as it is. Arguments as for `command_line`."""
    structure, appearance, *masks = _ordered(images).items()
    keywords = {**changes.arguments, **dict(masks)}
    if changes.overrides:
        keywords["overrides"] = list(changes.overrides)
    values = [*map(repr, (structure[1], appearance[1], changes.preset))]
    values += [f"{name}={value!r}" for name, value in keywords.items()]
    arguments = "".join(f"    {value},\n" for value in values)
    return f"from vitsplice import splice\n\nresult = splice(\n{arguments})\nresult.save({out!r})\n"


def _ordered(images: Mapping[str, str]) -> dict[str, str]:
    """Sort images by name: structure, appearance, and their masks."""
    names = ("structure", "appearance", "structure_mask", "appearance_mask")
    return {name: images[name] for name in names if name in images}
