"""``vitsplice export``: export a trained model for other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder, written by `vitsplice train`.")],
    onnx: Annotated[
        Path,
        typer.Option(
            "--onnx", "-o", metavar="FILE", help="The ONNX file. Default: generator.onnx in the current folder."
        ),
    ] = Path("generator.onnx"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Export the generator of a trained model to ONNX, checked against torch for images of two sizes."""
    from vitsplice.errors import UserError
    from vitsplice.models.export import graph_inputs, to_onnx
    from vitsplice.models.loading import load_model
    from vitsplice.support import output_folder
    from vitsplice.text import printable
    from vitsplice.training.plan import WORK as TRAINING

    # ONNX files with other names may be written to the model folder.
    training_paths = {os.path.realpath(model / name) for name in TRAINING.files}
    target = os.path.realpath(onnx)
    if {target, os.path.dirname(target)} & training_paths:
        raise UserError(
            f"{printable(str(onnx))} is a file of the model or in one of its folders; choose another name or folder"
        )
    path = output_folder.check_file(onnx, "ONNX file, such as generator.onnx", force=force)
    loaded = load_model(model, device="cpu")
    data, difference = to_onnx(loaded)
    output_folder.write_file(path, data)
    inputs = ", ".join(graph_inputs(data))
    typer.echo(f"inputs {inputs}; largest difference from torch {difference:.2g}, in outputs from 0 to 1", err=True)
    typer.echo(path)
