import os

import pytest

from vitsplice.batch.transfer_plan import outputs_of_images
from vitsplice.errors import UserError


@pytest.fixture
def photos(tmp_path):
    for name in ("photos/a.png", "more/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    return tmp_path / "photos"


def test_an_image_that_is_given_in_several_spellings_is_used_once(photos, monkeypatch):
    monkeypatch.chdir(photos)
    paths = ["a.png", photos / "a.png", "../photos/a.png", photos]
    (transfer,) = outputs_of_images(map(type(photos), paths))
    assert os.fspath(transfer.structure) == "a.png"


def test_two_images_of_one_name_are_refused(photos):
    with pytest.raises(UserError, match=r"would have the same output a\.png; give them in separate calls"):
        outputs_of_images([photos, photos.parent / "more"])
