import json

import pytest

from vitsplice.datasets.lists import frames, pairs
from vitsplice.errors import ConfigError, UserError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "b c.jpg", "d.png", "train/r_0.png", "train/r_1.jpg", "mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_two_paths_a_line(folder):
    text = "# structure appearance\na.jpg d.png\n\n'b c.jpg'  a.jpg\r\nb c.jpg\td.png\ngone\\x.jpg a.jpg\na.jpg d.png"
    (folder / "list.txt").write_text(text)
    found = pairs(folder / "list.txt")
    assert [pair.id for pair in found] == ["a--d", "b_c--a", "b_c--d", "gone_x--a", "a--d-2"]
    assert found[1].structure == found[2].structure == folder / "b c.jpg"
    assert found[3].structure == folder / "gone\\x.jpg"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a.jpg d.png\na.jpg\n", "line 2: must be two paths, not 1"),
        ("a.jpg,d.png", "line 1: must be two paths, not 1"),
        ("a.jpg d.png a.jpg", "must be two paths, not 3"),
        ("a.jpg\t\td.png", "must be two paths"),
        ("'a.jpg d.png", "a quote without its other half"),
        ("# only\n\n", "lists no pairs"),
        ("x/a.jpg x/d.png", "none of its 2 images is there"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(folder, text, told):
    (folder / "list.txt").write_text(text)
    with pytest.raises(UserError, match=told):
        pairs(folder / "list.txt")


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000 + "y"])
def test_names_that_no_file_can_have_are_not_there(folder, name):
    (folder / "list.txt").write_text(f"a.jpg {name}.jpg")
    (pair,) = pairs(folder / "list.txt")
    assert pair.appearance == folder / f"{name}.jpg"
    (folder / "list.txt").write_text(f"{name}.jpg {name}.jpg")
    with pytest.raises(UserError, match="none of its 2 images is there"):
        pairs(folder / "list.txt")
    (folder / "transforms.json").write_text(json.dumps({"frames": [{"file_path": "a.jpg"}, {"file_path": name}]}))
    assert frames(folder / "transforms.json")[0] == (folder / "a.jpg", folder / f"{name}.png")


def test_what_is_no_text_is_named(folder):
    (folder / "list.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match="not UTF-8 text"):
        pairs(folder / "list.txt")


def test_frames_in_their_order_with_masks(folder):
    listed = [
        {"file_path": "./train/r_1", "rotation": 0.01},
        {"file_path": "train/r_0", "mask_path": "mask.png"},
        {"file_path": "./train/r_1", "mask_path": None},
        {"file_path": "train/r_9"},
    ]
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": listed}))
    found, masks = frames(folder / "transforms.json")
    assert [path.relative_to(folder).as_posix() for path in found] == [
        "train/r_1.jpg",
        "train/r_0.png",
        "train/r_9.png",
    ]
    assert masks == {folder / "train/r_0.png": folder / "mask.png"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[" * 50_000, "is not JSON"),
        ("[]", "no list 'frames'"),
        ('{"frames": []}', "no list 'frames'"),
        ('{"frames": [{"file_path": "a.jpg"}, 1]}', r"frames\[1\]: file_path must be"),
        ('{"frames": [{"file_path": 3}]}', r"frames\[0\]: file_path must be"),
        ('{"frames": [{"file_path": "a.jpg", "mask_path": ""}]}', r"frames\[0\]: mask_path must be"),
    ],
)
def test_what_is_wrong_in_a_scene_is_named(folder, text, told):
    (folder / "transforms.json").write_text(text)
    with pytest.raises(ConfigError, match=told):
        frames(folder / "transforms.json")


def test_a_scene_of_which_nothing_is_there(folder):
    (folder / "transforms.json").write_text('{"frames": [{"file_path": "images/1"}]}')
    with pytest.raises(UserError, match="paths are taken from the folder of the list"):
        frames(folder / "transforms.json")
