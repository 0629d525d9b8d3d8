import pytest
from tiny_models import write_tiny_model


@pytest.fixture(autouse=True)
def model(tmp_path):
    pytest.importorskip("onnx")
    write_tiny_model(tmp_path / "model")


@pytest.mark.slow
def test_writes_a_checked_graph_and_names_its_inputs(vitsplice, tmp_path):
    done = vitsplice("export", "model", "--onnx", "out/tint.onnx")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/tint.onnx"
    assert "inputs structure, cls, appearance, start, warped; largest difference from torch" in done.stderr
    import onnx

    onnx.checker.check_model(onnx.load(tmp_path / "out" / "tint.onnx"))


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.yaml", "training.json", "held-out.csv", "checkpoint/step-00000001.json"]
)
def test_files_of_the_model_are_not_replaced(vitsplice, tmp_path, name, force):
    file = tmp_path / "model" / name
    file.parent.mkdir(exist_ok=True)
    file.touch()  # the tiny model has only some of these files
    before = file.read_bytes()
    (tmp_path / "link.onnx").symlink_to(file)
    for path in (f"model/{name}", "link.onnx"):
        done = vitsplice("export", "model", "-o", path, *force)
        assert done.returncode == 2
        assert f"{path} is a file of the model or in one of its folders; choose another name or folder" in done.stderr
    assert file.read_bytes() == before


def test_new_file_in_a_folder_of_the_model_is_refused(vitsplice):
    done = vitsplice("export", "model", "-o", "model/previews/generator.onnx")
    assert done.returncode == 2
    assert (
        "generator.onnx is a file of the model or in one of its folders; choose another name or folder" in done.stderr
    )


@pytest.mark.slow
def test_file_may_have_any_name_and_be_a_link_into_another_folder(vitsplice, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "back\\slash.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    done = vitsplice("export", "model", "-o", "out/back\\slash.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere.onnx").is_file()


@pytest.mark.slow
def test_an_existing_file_is_replaced_only_with_force(vitsplice, tmp_path):
    (tmp_path / "tint.onnx").write_bytes(b"mine")
    done = vitsplice("export", "model", "--onnx", "tint.onnx")
    assert done.returncode == 2
    assert "tint.onnx already exists" in done.stderr
    assert (tmp_path / "tint.onnx").read_bytes() == b"mine"
    assert vitsplice("export", "model", "--onnx", "tint.onnx", "--force").returncode == 0
    assert (tmp_path / "tint.onnx").read_bytes() != b"mine"
