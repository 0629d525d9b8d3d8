import os

import pytest
from PIL import Image

from vitsplice.batch.lut_images import apply_lut
from vitsplice.batch.transfer_plan import outputs_of_images, plan_in
from vitsplice.errors import UserError
from vitsplice.luts import Lut

NAMES = ("shot at 9.41\u202fpm.png", "a\\b.png", "x:1.png", "two\nlines.png", os.fsdecode(b"caf\xe9.png"))
"""File names that `vitsplice.support.files.inside` refuses as untrusted; a user's own images may have them."""


@pytest.fixture
def photos(tmp_path):
    """A folder of images with unusual names."""
    (tmp_path / "photos").mkdir()
    for name in NAMES:
        Image.new("RGB", (16, 16), (200, 100, 50)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_images_of_any_name_are_written(photos, tmp_path):
    applied = apply_lut(Lut.identity(2), plan_in(tmp_path / "out", outputs_of_images([photos])))
    assert (applied.written, applied.failures) == (len(NAMES), {})
    assert sorted(os.listdir(tmp_path / "out")) == sorted(NAMES)


def test_an_output_that_cannot_be_written_does_not_stop_the_others(photos, tmp_path):
    (tmp_path / "out" / "x:1.png").mkdir(parents=True)
    applied = apply_lut(Lut.identity(2), plan_in(tmp_path / "out", outputs_of_images([photos])))
    assert applied.written == len(NAMES) - 1
    assert list(applied.failures) == ["x:1.png"]


def test_a_folder_that_cannot_be_created_is_an_error(photos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot create the folder"):
        apply_lut(Lut.identity(2), plan_in(tmp_path / "file" / "out", outputs_of_images([photos])))
