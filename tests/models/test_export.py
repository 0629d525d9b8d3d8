import numpy as np
import pytest
import torch
from tiny_models import write_tiny_model

from vitsplice import load_model
from vitsplice.errors import UserError, VitspliceError
from vitsplice.models import export


@pytest.fixture(params=["tiny-tint", "splicenet-residual", "splicenet"])
def model(request, tmp_path):
    options = {} if request.param == "tiny-tint" else {"width": 0.05}
    write_tiny_model(tmp_path / "model", generator=request.param, options=options)
    return load_model(tmp_path / "model", device="cpu")


def run(data, inputs):
    session = pytest.importorskip("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]


@pytest.mark.slow
def test_the_graph_gives_the_output_of_torch_for_batches_of_images_of_any_size(model):
    data, difference = export.to_onnx(model)
    assert difference < 1e-4
    for size, batch in (((64, 96), 1), ((131, 77), 3)):
        inputs = export.example_inputs(model, size, batch)
        condition = {name: value for name, value in inputs.items() if name != "structure"}
        with torch.no_grad():
            expected = model.generator(inputs["structure"], condition).numpy()
        assert np.abs(run(data, inputs) - expected).max() < 1e-4


@pytest.mark.slow
def test_without_onnxruntime_the_evaluator_of_onnx_checks_it(model_folder, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr(export, "find_spec", lambda name: name == "onnx" or None)
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


def test_a_graph_that_differs_is_refused(model_folder, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(VitspliceError, match=r"differs from torch by .*no file is written"):
        export.to_onnx(load_model(model_folder))


def test_a_graph_of_another_output_shape_is_refused(model_folder, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr(export, "_runtime", lambda data: lambda inputs: inputs["structure"][..., 1:])
    message = r"returns \(2, 3, 192, 191\) for images of \(2, 3, 192, 192\), and torch \(2, 3, 192, 192\); no file"
    with pytest.raises(VitspliceError, match=message):
        export.to_onnx(load_model(model_folder))
