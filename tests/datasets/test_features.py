import numpy as np
import pytest
import torch

from vitsplice.datasets.features import features
from vitsplice.images import encode_png, read
from vitsplice.support.progress import ProgressReporter


class Counting:
    """A backbone that counts what it looks at."""

    def __init__(self, backbone):
        self.info, self.backbone, self.calls = backbone.info, backbone, 0

    def __call__(self, images, requests):
        self.calls += 1
        return self.backbone(images, requests)


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(encode_png(torch.rand(1, 3, 24, 20, generator=torch.Generator().manual_seed(number))))
    return paths


@pytest.fixture
def look(vit, tmp_path):
    def go(paths, stop=10**9):
        backbone = Counting(vit)
        asked = iter(range(10**9))
        found = features(
            paths,
            backbone,
            torch.device("cpu"),
            tmp_path / "kept",
            ProgressReporter(stopped=lambda: next(asked) >= stop),
        )
        return found, backbone.calls

    return go


def test_what_is_finished_is_not_looked_at_again(look, images, tmp_path):
    whole, calls = look(images)
    assert (calls, list(whole.features)) == (4, images)
    (tmp_path / "kept").unlink()
    assert look(images, stop=2) == (None, 2)
    with (tmp_path / "kept").open("ab") as file:
        file.write(b'{"key": "00ff", "sha256": "x", "feature": "%"}\n{"key": "01", "sha')
    again, calls = look(images)
    assert calls == 2
    for path in images:
        assert again.features[path].sha256 == whole.features[path].sha256 == read(path).sha256
        assert np.array_equal(again.features[path].values, whole.features[path].values)


def test_a_image_that_was_changed_is_looked_at_again(look, images):
    before, _ = look(images)
    images[0].write_bytes(images[1].read_bytes() + b"\0")
    after, calls = look(images)
    assert calls == 1
    assert np.array_equal(after.features[images[0]].values, before.features[images[1]].values)


def test_broken_images_are_told(look, images, tmp_path):
    images[1].write_bytes(b"no image")
    found, _ = look([*images[:2], tmp_path / "gone.png"])
    assert list(found.features) == images[:1]
    assert ["is not an image" in found.broken[0], "does not exist" in found.broken[1]] == [True, True]
