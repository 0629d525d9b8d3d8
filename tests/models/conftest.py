import pytest
from tiny_models import write_tiny_model


@pytest.fixture
def model_folder(tmp_path):
    write_tiny_model(tmp_path / "model")
    return tmp_path / "model"
