import os

import pytest

from vitsplice.batch.transfer_plan import Transfer, TransferPlan, outputs_of_images, plan_in
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


def test_a_folder_given_in_place_of_structure_images_is_refused_as_output_folder(photos):
    outputs = outputs_of_images([photos])
    for out in (photos.parent / "more" / ".." / "photos", photos / "out.png"):
        with pytest.raises(UserError, match="photos is a folder of the images, and the outputs would be read as input"):
            plan_in(out, outputs, [photos])
    assert plan_in(photos.parent / "more", outputs, [photos]).transfers == outputs
    assert plan_in(photos, outputs, [photos / "a.png"]).folder == photos


@pytest.mark.parametrize("name", ["structure.png", "appearance.png", "mask.png", "appearance_mask.png"])
def test_an_output_replaces_no_input(tmp_path, name):
    structure, appearance, *masks = (
        tmp_path / f"{role}.png" for role in ("structure", "appearance", "mask", "appearance_mask")
    )
    transfer = Transfer(name, structure, ((appearance, 1.0),), masks[0], (masks[1],))
    with pytest.raises(UserError, match=f"{name} is an output file in"):
        TransferPlan(tmp_path, [transfer]).check(force=True)
    TransferPlan(tmp_path / "out", [transfer]).check(force=True)
