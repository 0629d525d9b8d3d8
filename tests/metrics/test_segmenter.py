import pickle

import pytest
import torch

from tests.conftest import noise
from vitsplice.contracts import Case, MetricContext
from vitsplice.errors import WeightsRejected, WeightsUnavailable
from vitsplice.metrics.segmenter import VARIABLE, classes, load, torchvision_iou, weights_file
from vitsplice.rng import private_rng

MODEL = "lraspp_mobilenet_v3_large"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of four classes."""
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


@torch.no_grad()
def test_the_image_itself_has_1_and_another_less(weights, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(weights))
    metric = torchvision_iou(MetricContext(lambda name: None, "x"))
    one, two = noise(1, 3, 60, 80, seed=1), noise(1, 3, 60, 80, seed=2).sqrt()
    assert metric.value(Case("c", one, two, one)) == 1
    assert metric.parameters["model"] == MODEL
    network = load(weights)
    shown = torch.nn.functional.interpolate(two, (520, 693), mode="bilinear")
    assert set(classes(network, shown).unique().tolist()) <= {0, 1, 2, 3}
    if len(classes(network, shown).unique()) > 1:
        assert metric.value(Case("c", one, two, two)) < 1


def test_weights_are_looked_for_in_the_cache(cache, weights, monkeypatch):
    with pytest.raises(WeightsUnavailable, match=f"begins with {MODEL}.*{VARIABLE}=FILE"):
        weights_file()
    (cache / f"{MODEL}-d234d4ea.pth").write_bytes(b"")
    assert weights_file() == cache / f"{MODEL}-d234d4ea.pth"
    monkeypatch.setenv(VARIABLE, str(weights))
    assert weights_file() == weights
    monkeypatch.setenv(VARIABLE, "nowhere.pth")
    with pytest.raises(WeightsUnavailable, match=r"nowhere\.pth"):
        weights_file()


class Hostile:
    def __reduce__(self):
        return (print, ("code of a pickle ran",))


def test_what_is_no_such_weights_is_refused_and_no_code_runs(tmp_path, weights, capsys):
    other = tmp_path / "other.pth"
    other.write_bytes(weights.read_bytes())
    with pytest.raises(WeightsRejected, match="must begin with one of"):
        load(other)
    for name, data in (("a", b""), ("b", weights.read_bytes()[:1000]), ("c", pickle.dumps(Hostile()))):
        path = tmp_path / f"{MODEL}-{name}.pth"
        path.write_bytes(data)
        with pytest.raises(WeightsRejected, match="does not hold weights"):
            load(path)
    torch.save({"x.bias": torch.zeros(4)}, tmp_path / f"{MODEL}-d.pth")
    with pytest.raises(WeightsRejected, match="does not hold weights"):
        load(tmp_path / f"{MODEL}-d.pth")
    assert "code of a pickle ran" not in capsys.readouterr().out
