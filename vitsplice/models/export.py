"""Export of a model's generator to ONNX, checked against torch.

The graph computes the output from the structure image and the conditions; describing and matching images is left to
vitsplice (`vitsplice.engine.conditions`) or to your program.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitsplice.contracts import SPATIAL, ConditionName
from vitsplice.engine.conditions import WARPED_STRIDE
from vitsplice.errors import UserError, VitspliceError
from vitsplice.models.model import Model
from vitsplice.numerics import numerics
from vitsplice.rng import private_rng
from vitsplice.text import first_line

OPSET = 18
"""Version of the ONNX operators."""

TOLERANCE = 1e-3
"""Maximum difference of an output value of the graph from torch's; values are in [0, 1]."""

TRACED_SIZE = (150, 173)
"""Height and width of the image with which the generator is traced; not multiples of 4, so that padding is traced."""

COMPARED_SIZES = ((192, 192), (131, 217))
"""Heights and widths of the images for which the outputs of graph and torch are compared."""

STRUCTURE, OUTPUT = "structure", "output"


class _Positional(nn.Module):
    """A conditional generator that takes its conditions as positional arguments."""

    def __init__(self, generator: nn.Module, names: tuple[ConditionName, ...]) -> None:
        super().__init__()
        self.generator, self.names = generator, names

    def forward(self, structure: Tensor, *conditions: Tensor) -> Tensor:
        return torch.as_tensor(self.generator(structure, dict(zip(self.names, conditions, strict=True))))


@numerics(grad=False)
def to_onnx(model: Model) -> tuple[bytes, float]:
    """Export the generator of a model to ONNX, for batches of images of any size.

    Inputs are ``structure`` ``(B, 3, H, W)`` and the conditions by name (`vitsplice.contracts.ConditionName`), without
    those that the generator does not use (`graph_inputs`). The output is ``output`` ``(B, 3, H, W)``.

    Returns:
        The content of the file, and the largest difference from torch on two batches, each of two random images of one
        size.

    Raises:
        UserError: if the package onnx is not installed.
        VitspliceError: if the generator cannot be exported, generator or graph fails for a batch, or the outputs differ
            in shape or by more than `TOLERANCE`.
    """
    if find_spec("onnx") is None:
        raise UserError("export to ONNX needs the package onnx; install it: pip install onnx")
    module = _Positional(model.generator.cpu(), model.spec.conditions).eval()
    try:
        data = _exported(module, example_inputs(model, TRACED_SIZE))
        run, names = _runtime(data), graph_inputs(data)
        batches = [example_inputs(model, size, batch=2) for size in COMPARED_SIZES]
        difference = float(np.max([_difference(module, run, names, batch) for batch in batches]))  # NaN if one is NaN
    finally:
        model.generator.to(model.device)
    if not difference <= TOLERANCE:
        raise VitspliceError(
            f"the exported generator differs from torch by {difference:.2g}, more than {TOLERANCE:g}; "
            "no file is written"
        )
    return data, difference


def graph_inputs(data: bytes) -> list[str]:
    """List the names of the inputs of an ONNX file in order."""
    return [item.name for item in import_module("onnx").load_from_string(data).graph.input]


def example_inputs(model: Model, size: tuple[int, int], batch: int = 1) -> dict[str, Tensor]:
    """Return random inputs of the generator, by name, for ``batch`` images of height and width ``size``."""
    height, width = size
    grid = (max(1, round(height / WARPED_STRIDE)), max(1, round(width / WARPED_STRIDE)))
    shapes: dict[ConditionName, tuple[int, ...]] = {"cls": (), "appearance": size, "start": size, "warped": grid}
    with private_rng(0):
        inputs = {STRUCTURE: torch.rand(batch, 3, height, width)}
        for name in model.spec.conditions:
            inputs[name] = torch.rand(batch, model.record.channels[name], *shapes[name])
    return inputs


def _exported(module: nn.Module, inputs: Mapping[str, Tensor]) -> bytes:
    axes = {name: {0: "batch"} | _spatial_axes(name) for name in (*inputs, OUTPUT)}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder, "generator.onnx")
        warnings.simplefilter("ignore")  # tracing warns that sizes become constants; to_onnx compares other sizes
        with _errors_as("the generator cannot be exported to ONNX"):
            # The exporter by torch.export needs a further package, onnxscript.
            torch.onnx.export(
                module, tuple(inputs.values()), path, dynamo=False, opset_version=OPSET, input_names=list(inputs),
                output_names=[OUTPUT], dynamic_axes=axes,
            )  # fmt: skip
        return path.read_bytes()


@contextmanager
def _errors_as(message: str) -> Iterator[None]:
    """Convert any exception in the block to VitspliceError; plugins and ONNX runtimes raise other exceptions."""
    try:
        yield
    except Exception as error:
        raise VitspliceError(f"{message}: {first_line(error)}") from error


def _spatial_axes(name: str) -> dict[int, str]:
    if name in (STRUCTURE, OUTPUT, "start"):
        return {2: "height", 3: "width"}
    return {2: f"{name}_height", 3: f"{name}_width"} if name in (*SPATIAL, "appearance") else {}


def _runtime(data: bytes) -> Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]:
    """Return a function that runs the graph: by onnxruntime if it is installed, or else by onnx's own evaluator."""
    with _errors_as("the exported generator cannot be loaded"):
        if find_spec("onnxruntime"):
            session = import_module("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])
        else:
            graph = import_module("onnx").load_from_string(data)
            session = import_module("onnx.reference").ReferenceEvaluator(graph)
    return lambda inputs: np.asarray(session.run(None, dict(inputs))[0])


def _difference(
    module: nn.Module,
    run: Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]],
    names: Sequence[str],
    inputs: Mapping[str, Tensor],
) -> float:
    """Compute the largest difference between outputs of graph and module; of ``inputs``, the graph takes ``names``."""
    shape = tuple(inputs[STRUCTURE].shape)
    with _errors_as(f"the generator fails for images of {shape}"):
        expected = module(*inputs.values()).numpy()
    with _errors_as(f"the exported generator fails for images of {shape}"):
        output = run({name: inputs[name].numpy() for name in names})
    if output.shape != expected.shape:
        raise VitspliceError(
            f"the exported generator returns {output.shape} for images of {shape}, and torch {expected.shape}; "
            "no file is written"
        )
    return float(np.abs(output - expected).max())
