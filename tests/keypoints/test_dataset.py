import os
from dataclasses import replace

import numpy as np
import pytest

from vitsplice.errors import ImageError, ImageNotFound
from vitsplice.keypoints import KeypointImage, KeypointPair

SOURCE, TARGET = np.array([(1.0, 2.0)]), np.array([(3.0, 4.0)])


@pytest.fixture
def pair(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"x")
    images = KeypointImage(tmp_path / "a"), KeypointImage(tmp_path / "b")
    return KeypointPair("id", "cat", *images, SOURCE, TARGET, reference_length=40.0)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "other"}, {"category": "dog"}, {"source_points": SOURCE + 1}, {"target_points": TARGET + 1},
        {"unit": "sides"}, {"reference_length": 41.0}, {"reference_length": None},
    ],
)  # fmt: skip
def test_key_depends_on_every_field(pair, change):
    assert replace(pair).key() == pair.key()
    assert replace(pair, **change).key() != pair.key()


@pytest.mark.parametrize("side", ["source", "target"])
def test_key_depends_on_file_and_transforms_of_each_image(pair, side):
    image = getattr(pair, side)
    changes = ({"warp": "flip"}, {"appearance": "grey"}, {"size": (1, 2)})
    keys = [pair.key(), *(replace(pair, **{side: replace(image, **change)}).key() for change in changes)]
    os.utime(image.path, ns=(0, 0))
    keys.append(pair.key())
    image.path.write_bytes(b"xx")
    os.utime(image.path, ns=(0, 0))
    keys.append(pair.key())
    assert len(set(keys)) == 6


def test_missing_image_is_distinguished_from_an_impossible_name(pair):
    pair.target.path.unlink()
    with pytest.raises(ImageNotFound, match="does not exist"):
        pair.key()
    for name in ("x" * 300, "a\0"):
        with pytest.raises(ImageError, match="cannot be read") as raised:
            replace(pair, target=KeypointImage(pair.target.path.parent / name)).key()
        assert not isinstance(raised.value, ImageNotFound)
