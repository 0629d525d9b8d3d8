import os
from hashlib import sha256
from pathlib import Path

import pytest

from vitsplice.batch.transfer_plan import Transfer, TransferPlan, outputs_of_images, plan_in
from vitsplice.errors import ImageError, UserError


@pytest.fixture
def photos(tmp_path):
    for name in ("photos/a.png", "more/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    return tmp_path / "photos"


def test_an_image_that_is_given_in_several_spellings_is_used_once(photos, monkeypatch):
    monkeypatch.chdir(photos)
    paths = ["a.png", photos / "a.png", "../photos/a.png", photos]
    (transfer,) = outputs_of_images(map(Path, paths))
    assert os.fspath(transfer.structure) == "a.png"


def test_two_images_of_one_name_are_refused(photos):
    with pytest.raises(UserError, match=r"would have the same output a\.png; give them in separate calls"):
        outputs_of_images([photos, photos.parent / "more"])


def test_the_two_images_of_one_name_are_reported_among_several(photos):
    more = photos.parent / "more"
    for folder in (photos, more):
        (folder / "b.png").touch()
    with pytest.raises(UserError, match=r"photos/a\.png and \S*more/a\.png would have the same output a\.png"):
        outputs_of_images([photos, more])


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


@pytest.mark.parametrize("role", ["structure", "appearance", "structure_mask", "appearance_mask"])
def test_digest_of_a_device_is_refused(photos, role):
    paths = dict.fromkeys(("structure", "appearance", "structure_mask", "appearance_mask"), photos / "a.png")
    (photos / "a.png").write_bytes(b"image")
    paths[role] = Path(os.devnull)
    structure, appearance, *masks = paths.values()
    with pytest.raises(ImageError, match="null' is not a regular file"):
        Transfer("out.png", structure, ((appearance, 1.0),), masks[0], (masks[1],)).digests()


def test_digests_have_the_names_of_the_images(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths:
        path.write_bytes(path.name.encode())
    digests = [sha256(path.name.encode()).hexdigest() for path in paths]
    transfer = Transfer("out.png", paths[0], ((paths[1], 1.0), (paths[2], 0.5)), paths[3], (None, paths[4]))
    assert transfer.digests() == {
        "structure": digests[0],
        "appearance": [[digests[1], 1.0], [digests[2], 0.5]],
        "structure_mask": digests[3],
        "appearance_2_mask": digests[4],
    }
