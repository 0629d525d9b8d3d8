import pickle

import pytest
import torch

from tests.conftest import noise
from vitsplice.contracts import Case, MetricContext
from vitsplice.errors import WeightsRejected, WeightsUnavailable
from vitsplice.metrics import segmenter
from vitsplice.metrics.segmenter import VARIABLE, classify, load, torchvision_iou, weights_file
from vitsplice.rng import private_rng

MODEL = "lraspp_mobilenet_v3_large"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """File of random weights of a network of four classes."""
    from torchvision.models import segmentation

    path = tmp_path_factory.mktemp("weights") / f"{MODEL}-random.pth"
    with private_rng(0):
        torch.save(getattr(segmentation, MODEL)(weights=None, weights_backbone=None, num_classes=4).state_dict(), path)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.mark.slow
@torch.no_grad()
def test_structure_image_has_iou_1(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter, "SHORTER_SIDE", 130)
    structure, other = noise(1, 3, 60, 80, seed=1), noise(1, 3, 60, 80, seed=2).sqrt()
    resized = torch.nn.functional.interpolate(other, (130, 173), mode="bilinear")
    network = load(weights)
    network.classifier.low_classifier.bias -= network(resized)["out"].mean((0, 2, 3))  # so that no class is everywhere
    present = classify(network, resized).unique()
    assert set(present.tolist()) <= {0, 1, 2, 3}
    assert len(present) > 1
    torch.save(network.state_dict(), tmp_path / weights.name)
    monkeypatch.setenv(VARIABLE, str(tmp_path / weights.name))
    metric = torchvision_iou(MetricContext(lambda name: None, "x"))
    assert metric.value(Case("c", structure, other, structure)) == 1
    assert metric.parameters["model"] == MODEL
    assert metric.value(Case("c", structure, other, other)) < 1


def test_weights_are_read_from_the_cache_or_the_variable(cache, weights, monkeypatch):
    with pytest.raises(WeightsUnavailable, match=f"begins with one of {MODEL}.*{VARIABLE}=FILE"):
        weights_file()
    (cache / f"{MODEL}-d234d4ea.pth").write_bytes(b"")
    assert weights_file() == cache / f"{MODEL}-d234d4ea.pth"
    monkeypatch.setenv(VARIABLE, str(weights))
    assert weights_file() == weights
    monkeypatch.setenv(VARIABLE, "nowhere.pth")
    with pytest.raises(WeightsUnavailable, match=r"nowhere\.pth"):
        weights_file()


def test_failed_allocation_is_not_reported_as_invalid_weights(weights, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(MemoryError):
        load(weights)


class Hostile:
    def __reduce__(self):
        return (print, ("code of a pickle ran",))


def test_invalid_weights_are_rejected_without_running_code(tmp_path, weights, capsys):
    other = tmp_path / "other.pth"
    other.write_bytes(weights.read_bytes())
    with pytest.raises(WeightsRejected, match="must begin with one of"):
        load(other)
    for name, data in (("a", b""), ("b", weights.read_bytes()[:1000]), ("c", pickle.dumps(Hostile()))):
        path = tmp_path / f"{MODEL}-{name}.pth"
        path.write_bytes(data)
        with pytest.raises(WeightsRejected, match="does not hold weights"):
            load(path)
    assert "code of a pickle ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ({"model": {"x.bias": torch.zeros(4)}}, "it is not a state dict, which has a tensor for each name"),
        ({}, "it is not a state dict"),
        ([1], "it is not a state dict"),
        ({"x.weight": torch.zeros(4)}, "it has no biases"),
        ({"x.bias": torch.zeros(4)}, r"its state dict does not fit LRASPP: \d+ missing \(backbone"),
    ],
)
def test_content_that_is_no_state_dict_is_rejected_with_the_cause(tmp_path, content, cause):
    path = tmp_path / f"{MODEL}-other.pth"
    torch.save(content, path)
    with pytest.raises(WeightsRejected, match=f"does not hold weights of torchvision's {MODEL}: {cause}"):
        load(path)
