import pytest
import torch

from tests.conftest import noise
from vitsplice.contracts import Case, Metric, MetricSpec
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.errors import UserError
from vitsplice.images import encode_png, read
from vitsplice.video import measurement
from vitsplice.video.appearances import Appearances


def mean_of_output(case: Case) -> float:
    return float(case.output.mean())


def mean_of_dark_output(case: Case) -> float:
    mean = mean_of_output(case)
    return mean if mean < 0.3 else float("nan")


def mean_of_appearance(case: Case) -> float:
    return float(case.appearance.mean())


def unavailable(context):
    raise UserError("no weights")


SPECS = (
    MetricSpec("brightness", lambda context: Metric(mean_of_output), "brightness"),
    MetricSpec(
        "dark", lambda context: Metric(mean_of_dark_output), "brightness if dark", better="higher", against="appearance"
    ),
    MetricSpec("appearance", lambda context: Metric(mean_of_appearance), "brightness of the appearance image"),
    MetricSpec("absent", unavailable, "absent"),
)


@pytest.fixture
def samples(tmp_path):
    """Two frames as (number, input file, output file); the output of the second is brighter."""
    files = []
    for number, level in enumerate((0.2, 0.6)):
        paths = tmp_path / f"{number}-before.png", tmp_path / f"{number}-after.png"
        for path, pixels in zip(paths, (noise(3, 32, 32), torch.full((3, 32, 32), level)), strict=True):
            path.write_bytes(encode_png(pixels))
        files.append((number, *paths))
    return files


def test_a_metric_is_the_mean_over_frames_and_appearance_images_if_all_have_a_value(samples, monkeypatch):
    monkeypatch.setattr(measurement, "select_run_metrics", lambda known: list(SPECS))
    # The outputs also serve as appearance images, because their brightness is known.
    images = {f"a{number}": read(output) for number, _, output in samples}
    values = measurement.frame_metrics(samples, Appearances(images, weights=(1.0, 3.0)), "tiny-vit", BackboneLoader())
    assert list(values) == ["brightness", "dark", "appearance", "absent"]
    assert values["appearance"]["value"] == pytest.approx((0.2 + 3 * 0.6) / 4, abs=0.01)
    assert values["brightness"]["value"] == pytest.approx(0.4, abs=0.01)
    assert (values["dark"]["value"], values["dark"]["better"]) == (None, "higher")
    assert values["dark"]["reason"]
    assert values["absent"] == {"value": None, "reason": "no weights", "better": "lower", "against": "structure"}
