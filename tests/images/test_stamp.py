import os

import pytest

from vitsplice.errors import ImageError
from vitsplice.images.stamp import image_stamp


def test_stamp_changes_with_size_or_modification_time(tmp_path):
    path = tmp_path / "image.png"
    path.write_text("one")
    first = image_stamp(path)
    assert first == image_stamp(path) == image_stamp(path.parent / "." / path.name)
    path.write_text("three")
    assert image_stamp(path) != first
    path.write_text("two")
    os.utime(path, ns=(0, first[2] + 1))
    assert image_stamp(path) != first
    for missing in (path / "below", path.with_name("x" * 300), path.with_name("a\0b")):
        with pytest.raises(ImageError, match="does not exist|cannot be read"):
            image_stamp(missing)
