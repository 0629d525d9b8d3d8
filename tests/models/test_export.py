from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import write_tiny_model

from vitsplice import load_model
from vitsplice.errors import UserError, VitspliceError
from vitsplice.models import export


@pytest.fixture(params=["tiny-tint", "splicenet-residual", "splicenet"])
def model(request, tmp_path, monkeypatch):
    monkeypatch.setattr("vitsplice.generators.splicenet.CHANNELS", (32, 64, 128))
    options = {
        "tiny-tint": {},
        "splicenet-residual": {"width": 0.05, "channels": [16, 48, 96]},
        "splicenet": {"width": 0.05},
    }[request.param]
    write_tiny_model(tmp_path / "model", generator=request.param, options=options)
    return load_model(tmp_path / "model", device="cpu")


@pytest.mark.slow
def test_the_graph_gives_the_output_of_torch_for_batches_of_images_of_any_size(model):
    data, difference = export.to_onnx(model)
    assert difference < 1e-4
    session = pytest.importorskip("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])
    for size, batch in (((64, 96), 1), ((131, 77), 3)):
        inputs = export.example_inputs(model, size, batch)
        condition = {name: value for name, value in inputs.items() if name != "structure"}
        with torch.no_grad():
            expected = model.generator(inputs["structure"], condition).numpy()
        output = session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]
        assert np.abs(output - expected).max() < 1e-4


@pytest.mark.slow
def test_without_onnxruntime_the_evaluator_of_onnx_checks_the_graph(model_folder, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr(export, "find_spec", lambda name: name == "onnx" or None)
    monkeypatch.setattr(export, "COMPARED_SIZES", ((64, 64), (43, 71)))
    assert export.to_onnx(load_model(model_folder))[1] < 1e-4


def test_without_onnx_an_error_names_the_package(model_folder, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package onnx; install it: pip install onnx"):
        export.to_onnx(load_model(model_folder))


def test_a_graph_that_fails_for_a_batch_is_refused(model_folder, monkeypatch):
    pytest.importorskip("onnx")

    def fail(inputs):
        raise IndexError("no batches\nnode 7")

    monkeypatch.setattr(export, "_runtime", lambda data: fail)
    message = r"the exported generator fails for images of \(2, 3, 192, 192\): no batches"
    with pytest.raises(VitspliceError, match=message):
        export.to_onnx(load_model(model_folder))


class Tint(torch.nn.Module):
    """A generator that uses only the condition ``cls``; raises ``error`` for images of ``width``, or of any if None."""

    def __init__(self, error=None, width=None):
        super().__init__()
        self.error, self.width = error, width

    def forward(self, structure, conditions):
        if self.error and self.width in (None, structure.shape[-1]):
            raise self.error
        return torch.sigmoid(structure + conditions["cls"].mean())


def test_conditions_that_the_generator_does_not_use_are_no_inputs(model_folder):
    pytest.importorskip("onnx")
    data, difference = export.to_onnx(replace(load_model(model_folder), generator=Tint()))
    assert difference < 1e-4
    assert export.graph_inputs(data) == ["structure", "cls"]


@pytest.mark.parametrize("error", [KeyError("start"), RuntimeError("no")])
def test_a_generator_that_fails_is_refused(model_folder, error):
    pytest.importorskip("onnx")
    model = load_model(model_folder)
    with pytest.raises(VitspliceError, match="the generator cannot be exported to ONNX: "):
        export.to_onnx(replace(model, generator=Tint(error)))
    with pytest.raises(VitspliceError, match=r"the generator fails for images of \(2, 3, 131, 217\): "):
        export.to_onnx(replace(model, generator=Tint(error, width=217)))


def test_a_graph_that_cannot_be_loaded_is_refused(model_folder, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr(export, "_exported", lambda *_: b"no graph")
    with pytest.raises(VitspliceError, match="the exported generator cannot be loaded: "):
        export.to_onnx(load_model(model_folder))


@pytest.mark.parametrize("differences", [(1e-7, float("nan")), (float("nan"), 1e-7)])
def test_a_graph_whose_output_is_not_a_number_is_refused(model_folder, monkeypatch, differences):
    pytest.importorskip("onnx")
    of_each_size = iter(differences)
    monkeypatch.setattr(export, "_difference", lambda *_: next(of_each_size))
    with pytest.raises(VitspliceError, match="differs from torch by nan"):
        export.to_onnx(load_model(model_folder))


@pytest.mark.slow
def test_a_graph_whose_output_differs_is_refused(model_folder, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr(export, "TOLERANCE", -1.0)  # less than any difference
    with pytest.raises(VitspliceError, match=r"differs from torch by .*no file is written"):
        export.to_onnx(load_model(model_folder))


def test_a_graph_of_another_output_shape_is_refused(model_folder, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr(export, "_runtime", lambda data: lambda inputs: inputs["structure"][..., 1:])
    message = r"returns \(2, 3, 192, 191\) for images of \(2, 3, 192, 192\), and torch \(2, 3, 192, 192\); no file"
    with pytest.raises(VitspliceError, match=message):
        export.to_onnx(load_model(model_folder))
