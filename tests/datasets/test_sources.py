import json
from pathlib import Path

import pytest

from vitsplice.datasets.sources import read_source
from vitsplice.errors import ConfigError, UserError


def relative(paths, folder):
    return [Path(path).relative_to(folder).as_posix() for path in paths]


def test_folder_of_images_is_one_group(tree):
    folder = tree("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "._b.jpg", "sub/c.jpg")
    (group,) = read_source(folder).groups
    assert relative(group.structures, folder) == ["a.PNG", "b.jpg"]
    assert group.appearances == group.structures


def test_each_domain_of_a_tree_is_a_group(tree):
    folder = tree("train/cat/1.jpg", "train/dog/2.jpg", "train/dog/3.jpg", "test/cat/1.jpg", "test/empty/x.txt")
    contents = read_source(folder)
    images = {group.name: len(group.structures) for group in contents.groups}
    assert images == {"test/cat": 1, "train/cat": 1, "train/dog": 2}
    assert contents.default_by == "random"
    assert [group.name for group in read_source(folder / "train").groups] == ["cat", "dog"]


@pytest.mark.parametrize(("images", "ignored"), [(["1.jpg", "2.jpg"], ["e"]), (["a/1.jpg", "a/b/1.jpg"], ["a/b/c"])])
def test_deeper_folders_with_images_are_listed_as_ignored(tree, images, ignored):
    folder = tree(*images, "a/b/c/1.jpg", "a/b/d/notes.txt", "e/1.jpg")
    assert relative(read_source(folder).ignored, folder) == ignored


def test_subfolder_that_cannot_be_read_is_not_listed(tree, monkeypatch):
    folder = tree("1.jpg", "locked/1.jpg", "more/1.jpg")
    iterdir = Path.iterdir

    def refuse(path):
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert relative(read_source(folder).ignored, folder) == ["more"]


def test_domains_of_a_split_may_be_called_a_and_b(tree):
    domains = [f"{split}/{domain}/{number}.jpg" for split in ("test", "train") for domain in "AB" for number in (1, 2)]
    folder = tree(*domains, "train/C/1.jpg")
    assert [group.name for group in read_source(folder).groups] == ["test/A", "test/B", "train/A", "train/B", "train/C"]


def test_subfolders_with_roles_are_pairs(tree):
    contents = read_source(tree("cow/structure.jpg", "cow/appearance.png", "z/n"))
    assert [pair.id for pair in contents.pairs] == ["cow"]
    assert (contents.groups, contents.default_by) == ((), None)


def test_subfolders_with_images_but_without_a_pair_are_listed(tree):
    folder = tree("cow/structure.jpg", "cow/appearance.png", "Dog/Structure.jpg", "Dog/Appearance.jpg", "notes/n.txt")
    assert read_source(folder).ignored == (folder / "Dog",)


@pytest.mark.parametrize("files", [["structure.png", "appearance.jpg", "structure_mask.png"], ["A/1.png", "B/2.png"]])
def test_folder_of_one_pair_is_this_pair(tree, files):
    folder = tree(*(f"cow/{name}" for name in files)) / "cow"
    (pair,) = read_source(folder).pairs
    assert pair.id == "cow"
    assert relative(pair.images.values(), folder) == files


@pytest.mark.parametrize(("current", "path"), [("cow", "."), ("cow/more", "..")])
def test_relative_folder_of_one_pair_has_the_name_of_the_folder(tree, monkeypatch, current, path):
    monkeypatch.chdir(tree("cow/structure.png", "cow/appearance.png", "cow/more/notes.txt") / current)
    assert [pair.id for pair in read_source(Path(path)).pairs] == ["cow"]


@pytest.mark.parametrize("roles", [["structure.png", "appearance.png"], ["A/1.png", "B/2.png"]])
def test_folder_of_further_images_is_no_pair(tree, roles):
    folder = tree(*roles, "1.png", "2.png")
    (group,) = read_source(folder).groups
    images = [name for name in roles if "/" not in name]
    assert relative(group.structures, folder) == ["1.png", "2.png", *sorted(images)]


@pytest.mark.parametrize(
    ("roles", "ignored"), [(["structure.png", "appearance.png"], ["A", "more"]), (["A/1.png", "B/2.png"], ["more"])]
)
def test_subfolders_that_a_folder_of_one_pair_does_not_use_are_listed(tree, roles, ignored):
    folder = tree(*roles, "A/1.png", "more/1.png", "notes/n.txt")
    contents = read_source(folder)
    assert (len(contents.pairs), relative(contents.ignored, folder)) == (1, ignored)


def test_note_on_ignored_subfolders_does_not_say_that_one_with_a_pair_has_none(tree):
    pair = ("structure.png", "appearance.png")
    folder = tree(*pair, *(f"more/{name}" for name in pair))
    note = read_source(folder).note_on_ignored
    assert note.startswith(f"1 subfolder with images is not used, such as {folder}/more;")


@pytest.mark.parametrize("files", [["structure.png", "other.png"], ["A/1.png", "A/2.png", "B/3.png", "B/4.png"]])
def test_folders_without_both_roles_are_no_pair(tree, files):
    assert read_source(tree(*files)).default_by == "random"


@pytest.mark.parametrize("file", ["x/y/z/deep.jpg", "note.txt"])
def test_folder_without_images_is_refused(tree, file):
    with pytest.raises(UserError, match="holds no images"):
        read_source(tree(file))


def test_folders_are_paired_by_name_and_a_single_image_with_all(tree):
    folder = tree("s/1.jpg", "s/2.jpg", "a/1.jpg", "one.jpg")
    assert read_source(folder / "s", folder / "a").default_by == "name"
    contents = read_source(folder / "s", folder / "one.jpg")
    assert (contents.default_by, relative(contents.groups[0].appearances, folder)) == ("all", ["one.jpg"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("s", "empty"), "empty holds no images"),
        (("s", "none"), "none does not exist"),
        (("s", "empty/x.txt"), "x.txt is not an image"),
        (("none",), "none does not exist"),
        (("x" * 300,), "x does not exist"),
        (("s", "x" * 300), "x does not exist"),
        (("one.jpg",), "is one image"),
        (("empty/x.txt", "a"), "is a list of pairs"),
        (("scene.json",), "has structure images only; `pairs build` needs an appearance image, or a folder of them"),
        (("pairs.csv",), "manifest already"),
    ],
)
def test_unusable_source_is_named(tree, arguments, message):
    folder = tree("s/1.jpg", "a/1.jpg", "one.jpg", "empty/x.txt", "pairs.csv", "scene.json")
    with pytest.raises(UserError, match=message):
        read_source(*(folder / argument for argument in arguments))


def test_subfolders_of_either_layout_are_pairs(tree):
    folder = tree(
        "cow/structure.jpg", "cow/appearance.PNG", "cow/appearance_mask.png", "cow/published_splice.jpg",
        "0/A/img.png", "0/B/img.png", "0/ours/out.png", "other/notes.txt",
    )  # fmt: skip
    pairs = read_source(folder).pairs
    images = {pair.id: dict(zip(pair.images, relative(pair.images.values(), folder), strict=True)) for pair in pairs}
    assert images == {
        "0": {"structure": "0/A/img.png", "appearance": "0/B/img.png"},
        "cow": {
            "structure": "cow/structure.jpg",
            "appearance": "cow/appearance.PNG",
            "appearance_mask": "cow/appearance_mask.png",
        },
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["x/structure.jpg"], r"x has no appearance image: appearance.png"),
        (["x/B/1.jpg"], r"x has no structure image"),
        (["x/structure.jpg", "x/structure.png", "x/appearance.jpg"], r"structure\.\* must be one image, not 2"),
        (["x/A/1.jpg", "x/A/2.jpg", "x/B/1.jpg", "x/B/2.jpg", "y/A/1.jpg", "y/B/1.jpg"], r"x/A must be one image"),
        (["x/A/1.jpg", "x/A/2.jpg", "x/B/1.jpg"], r"A must be one image, not 2: 1.jpg, 2.jpg; to pair two folders"),
    ],
)
def test_incomplete_and_ambiguous_subfolders_are_named(tree, files, message):
    with pytest.raises(UserError, match=message):
        read_source(tree(*files))


@pytest.fixture
def folder(tree):
    return tree("a.jpg", "b c.jpg", "d.png", "train/r_0.png", "train/r_1.jpg", "mask.png")


def test_list_of_two_paths_a_line_is_read(folder):
    text = (
        "# structure appearance\na.jpg d.png\n\n'b c.jpg'  a.jpg\r\n\"b c.jpg\"\td.png\ngone\\x.jpg a.jpg\na.jpg d.png"
    )
    (folder / "list.txt").write_text(text)
    pairs = read_source(folder / "list.txt").pairs
    assert [pair.id for pair in pairs] == ["a--d", "b_c--a", "b_c--d", "gone_x--a", "a--d-2"]
    assert pairs[1].structure == pairs[2].structure == folder / "b c.jpg"
    assert pairs[3].structure == folder / "gone\\x.jpg"


@pytest.mark.parametrize("character", ["\u2028", "\x0c", "\x1c"])
def test_lines_of_a_list_end_only_at_line_breaks(folder, character):
    (folder / "list.txt").write_text(f"a.jpg\tb{character}c.jpg\nd.png\ta.jpg\n", encoding="utf-8")
    pairs = read_source(folder / "list.txt").pairs
    assert [pair.appearance for pair in pairs] == [folder / f"b{character}c.jpg", folder / "a.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a.jpg d.png\na.jpg\n", "line 2: a line of a list of pairs must be two paths, not 1"),
        (b"a.jpg,d.png", "line 1: a line of a list of pairs must be two paths, not 1"),
        (b"a.jpg d.png a.jpg", "must be two paths, not 3"),
        (b"a.jpg\t\td.png", "must be two paths, not 3"),
        (b'a.jpg\t""', "line 1: a path is empty; give a structure image and an appearance image"),
        (b"'' d.png", "line 1: a path is empty"),
        (b"a\0.jpg d.png", "line 1: a path has a NUL character; save the list as UTF-8 text"),
        (b"'a.jpg d.png", "line 1: a quotation mark is not closed"),
        (b"# only\n\n", "lists no pairs"),
        (b"x/a.jpg x/d.png", "lists 2 images; none exists"),
        (b"\xff\xd8\xff\xe0", "not UTF-8 text"),
    ],
)
def test_invalid_list_is_named(folder, text, message):
    (folder / "list.txt").write_bytes(text)
    with pytest.raises(UserError, match=message):
        read_source(folder / "list.txt")


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000 + "y"])
def test_names_that_are_too_long_for_a_file_do_not_exist(folder, name):
    (folder / "list.txt").write_text(f"a.jpg {name}.jpg")
    (pair,) = read_source(folder / "list.txt").pairs
    assert pair.appearance == folder / f"{name}.jpg"
    (folder / "list.txt").write_text(f"{name}.jpg {name}.jpg")
    with pytest.raises(UserError, match="lists 2 images; none exists"):
        read_source(folder / "list.txt")
    (folder / "transforms.json").write_text(json.dumps({"frames": [{"file_path": "a.jpg"}, {"file_path": name}]}))
    (group,) = read_source(folder / "transforms.json", folder / "d.png").groups
    assert group.structures == (folder / "a.jpg", folder / f"{name}.png")


def test_tab_at_either_end_of_a_line_is_ignored(folder):
    (folder / "list.txt").write_text("\ta.jpg\tb c.jpg\na.jpg\td.png\t\n\ta.jpg d.png\n")
    assert [pair.id for pair in read_source(folder / "list.txt").pairs] == ["a--b_c", "a--d", "a--d-2"]


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_around_a_name_are_removed_in_a_line_with_a_tab_too(folder, quote):
    (folder / "list.txt").write_text(f"{quote}b c.jpg{quote}\ta.jpg\nit's.jpg\t'\n")
    quoted, other = read_source(folder / "list.txt").pairs
    assert (quoted.structure, quoted.appearance) == (folder / "b c.jpg", folder / "a.jpg")
    assert (other.structure, other.appearance) == (folder / "it's.jpg", folder / "'")


@pytest.mark.parametrize("path", ["/", ".", "..", "./"])
def test_frame_whose_path_is_a_folder_does_not_exist(folder, path):
    scene = folder / "train" / "transforms.json"
    scene.write_text(json.dumps({"frames": [{"file_path": path}]}))
    (folder / "train.png").touch()
    with pytest.raises(UserError, match="none exists"):
        read_source(scene, folder / "d.png")


def test_frames_of_a_scene_are_in_order_with_masks(folder):
    frames = [
        {"file_path": "./train/r_1", "rotation": 0.01},
        {"file_path": "train/r_0", "mask_path": "mask.png"},
        {"file_path": "./train/r_1", "mask_path": None},
        {"file_path": "train/r_9"},
    ]
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": frames}))
    (group,) = read_source(folder / "transforms.json", folder / "d.png").groups
    assert relative(group.structures, folder) == ["train/r_1.jpg", "train/r_0.png", "train/r_9.png"]
    assert group.masks == {folder / "train/r_0.png": folder / "mask.png"}


@pytest.mark.parametrize("masks", [["mask.png", None], [None, "mask.png"], ["b c.jpg", "mask.png"]])
def test_frame_that_is_listed_twice_has_its_last_mask(folder, masks):
    frames = [{"file_path": "a.jpg", "mask_path": mask} for mask in masks]
    (folder / "transforms.json").write_text(json.dumps({"frames": frames}))
    (group,) = read_source(folder / "transforms.json", folder / "d.png").groups
    assert group.masks == {folder / "a.jpg": folder / "mask.png"}


def test_suffix_that_a_frame_lacks_may_be_in_capital_letters(tree):
    folder = tree("r_0.PNG", "r_1.JPG", "d.png")
    (folder / "transforms.json").write_text(json.dumps({"frames": [{"file_path": "r_0"}, {"file_path": "./r_1"}]}))
    (group,) = read_source(folder / "transforms.json", folder / "d.png").groups
    for path, name in zip(group.structures, ("r_0.PNG", "r_1.JPG"), strict=True):
        assert path.samefile(folder / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[" * 50_000, "is not valid JSON"),
        ("[]", "must be an object"),
        ("{}", ": frames: is missing"),
        ('{"frames": []}', ": frames: must have at least 1 item"),
        ('{"frames": [{"file_path": "a.jpg"}, 1]}', r": frames\.1: .* object"),
        ('{"frames": [{"file_path": 3}]}', r": frames\.0\.file_path: .* string"),
        ('{"frames": [{"file_path": "a\\u0000"}]}', r": frames\.0\.file_path: "),
        ('{"frames": [{"file_path": "a.jpg", "mask_path": ""}]}', r": frames\.0\.mask_path: .* 1 character"),
    ],
)
def test_invalid_scene_is_named(folder, text, message):
    (folder / "transforms.json").write_text(text)
    with pytest.raises(ConfigError, match=f"is not a transforms.json.*{message}"):
        read_source(folder / "transforms.json", folder / "d.png")


def test_scene_without_existing_images_is_refused(folder):
    (folder / "transforms.json").write_text('{"frames": [{"file_path": "images/1"}]}')
    with pytest.raises(UserError, match="lists 1 image; none exists .* are relative to its folder"):
        read_source(folder / "transforms.json", folder / "d.png")
