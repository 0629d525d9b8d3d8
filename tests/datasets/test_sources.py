from pathlib import Path

import pytest

from vitsplice.datasets.sources import find
from vitsplice.errors import UserError


def names(paths, folder):
    return [Path(path).relative_to(folder).as_posix() for path in paths]


def test_a_folder_of_images_is_one_group(made):
    folder = made("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "._b.jpg", "sub/c.jpg")
    (group,) = find(folder).groups
    assert names(group.structures, folder) == ["a.PNG", "b.jpg"]
    assert group.appearances == group.structures


def test_a_tree_of_domains_is_a_group_each(made):
    folder = made("train/cat/1.jpg", "train/dog/2.jpg", "train/dog/3.jpg", "test/cat/1.jpg", "test/empty/x.txt")
    found = find(folder)
    assert {group.name: len(group.structures) for group in found.groups} == {
        "test/cat": 1,
        "train/cat": 1,
        "train/dog": 2,
    }
    assert found.by == "random"
    assert [group.name for group in find(folder / "train").groups] == ["cat", "dog"]


def test_subfolders_with_roles_are_pairs(made):
    found = find(made("cow/structure.jpg", "cow/appearance.png", "z/n"))
    assert ([pair.id for pair in found.pairs], found.groups, found.by) == (["cow"], (), "")


@pytest.mark.parametrize("file", ["x/y/z/deep.jpg", "note.txt"])
def test_a_folder_without_images_is_named(made, file):
    with pytest.raises(UserError, match="holds no images"):
        find(made(file))


def test_two_folders_and_single_images(made):
    folder = made("s/1.jpg", "s/2.jpg", "a/1.jpg", "one.jpg", "empty/x.txt")
    assert find(folder / "s", folder / "a").by == "name"
    found = find(folder / "s", folder / "one.jpg")
    assert (found.by, names(found.groups[0].appearances, folder)) == ("all", ["one.jpg"])
    for arguments, told in (
        ((folder / "s", folder / "empty"), "empty holds no images"),
        ((folder / "s", folder / "none"), "none does not exist"),
        ((folder / "s", folder / "empty/x.txt"), "x.txt is no image"),
        ((folder / "none",), "none does not exist"),
        ((folder / ("x" * 300),), "x does not exist"),
        ((folder / "s", folder / ("x" * 300)), "x does not exist"),
        ((folder / "one.jpg",), "is one image"),
        ((folder / "empty/x.txt", folder / "a"), "is a list of pairs"),
    ):
        with pytest.raises(UserError, match=told):
            find(*arguments)


def test_a_manifest_is_no_source(made):
    with pytest.raises(UserError, match="manifest already"):
        find(made("pairs.csv") / "pairs.csv")
