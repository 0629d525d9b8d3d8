"""The colours of a run as a lookup table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vitsplice.images import read_mask, resize_to
from vitsplice.luts import fit_lut, write_cube
from vitsplice.luts.lut import included
from vitsplice.runs.record import RunOutput


def check_mask_of_lut(path: Path) -> None:
    """Raise UserError if the structure mask in a file excludes every pixel; ImageError if it cannot be read."""
    included(read_mask(path).pixels.mean(1))


def write_lut(result: RunOutput, path: Path) -> dict[str, Any]:
    """Fit a LUT to the structure image and the output of a run, write it as a .cube file, and return its record.

    With a structure mask, only pixels inside it are used. An existing file is replaced.
    """
    output = result.pixels
    side = min(output.shape[-2:])
    names = [name for name in ("structure", "structure_mask") if name in result.inputs]
    structure, *masks = (resize_to(result.inputs[name][None], side)[0] for name in names)
    fitted = fit_lut(structure, output, *(mask.mean(0, keepdim=True) for mask in masks))
    write_cube(fitted.lut, path, title=path.stem, force=True)
    return {"path": str(path), **fitted.record()}
