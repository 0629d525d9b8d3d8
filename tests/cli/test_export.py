import pytest
from tiny_models import write_tiny_model


@pytest.fixture(autouse=True)
def model(tmp_path):
    pytest.importorskip("onnx")
    write_tiny_model(tmp_path / "model")


def test_writes_a_checked_graph_and_names_its_inputs(vitsplice, tmp_path):
    done = vitsplice("export", "model", "--onnx", "out/tint.onnx")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/tint.onnx"
    assert "inputs structure, cls, appearance, start, warped; largest difference from torch" in done.stderr
    import onnx

    onnx.checker.check_model(onnx.load(tmp_path / "out" / "tint.onnx"))


def test_an_existing_file_is_refused_without_force(vitsplice, tmp_path):
    (tmp_path / "tint.onnx").write_bytes(b"mine")
    done = vitsplice("export", "model", "--onnx", "tint.onnx")
    assert done.returncode == 2
    assert "tint.onnx already exists" in done.stderr
    assert vitsplice("export", "model", "--onnx", "tint.onnx", "--force").returncode == 0
