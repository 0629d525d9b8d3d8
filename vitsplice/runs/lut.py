"""The change of colours of a run as a lookup table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from vitsplice.errors import Argument, UserError
from vitsplice.images import resize_to
from vitsplice.luts import fit_lut, write_cube
from vitsplice.runs.record import RunOutput


def checked_mask_of_lut(mask: Tensor, size: int | None) -> Tensor:
    """Resize a structure mask to the output; a LUT is fitted to the pixels where the mask is at least 0.5.

    Args:
        mask: structure mask, ``(3, h, w)`` in [0, 1].
        size: shorter side of the output, in pixels; None: that of the mask.

    Returns:
        The mask, ``(1, H, W)`` in [0, 1].

    Raises:
        UserError: if no pixel is at least 0.5.
    """
    resized = (mask if size is None else resize_to(mask[None], size)[0]).mean(0, keepdim=True)
    if resized.max() < 0.5:
        height, width = resized.shape[-2:]
        raise UserError(
            f"at the size of the output, {width}x{height} px, the structure mask excludes every pixel from the LUT, as "
            "none is at least 0.5; enlarge its white area, or leave out ",
            Argument("lut"),
        )
    return resized


def write_lut(result: RunOutput, path: Path) -> dict[str, Any]:
    """Fit a LUT from the structure image to the output of a run, write it, and return its entry for ``run.json``.

    The entry has path, size and colour differences. With a structure mask, only pixels where the mask, resized to the
    output, is at least 0.5 are used.

    Args:
        result: output of the run.
        path: .cube file to write; an existing file is replaced.

    Raises:
        UserError: if the path does not end in .cube, or the mask excludes every pixel.
        VitspliceError: if the file cannot be written.
    """
    size = min(result.pixels.shape[-2:])
    structure = resize_to(result.inputs["structure"][None], size)[0]
    structure_mask = result.inputs.get("structure_mask")
    mask = None if structure_mask is None else checked_mask_of_lut(structure_mask, size)
    fitted = fit_lut(structure, result.pixels, mask)
    write_cube(fitted.lut, path, title=path.stem, force=True)
    return {"path": str(path), **fitted.record()}
