from pathlib import Path

import pytest

from vitsplice.datasets.pairing import pair_all, pair_at_random, pair_by_name
from vitsplice.datasets.sources import ImageGroup
from vitsplice.errors import UserError


def paths(*names):
    return tuple(map(Path, names))


THIRTY = paths(*(f"{number}.jpg" for number in range(30)))
MANY = ImageGroup(THIRTY, THIRTY)


def test_pair_all_excludes_the_image_itself():
    a, b, c = paths("a", "b", "c")
    assert dict(pair_all(ImageGroup((a, b, c), (a, b, c)))) == {a: [b, c], b: [a, c], c: [a, b]}


def test_link_counts_as_the_image_itself(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    group = ImageGroup((tmp_path / "a.jpg",), (tmp_path / "b.jpg",))
    assert list(pair_all(group)) == [(tmp_path / "a.jpg", [])]
    assert list(pair_at_random(group, 1, 0)) == [(tmp_path / "a.jpg", [])]


def test_pairing_by_name_leaves_out_the_image_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    (tmp_path / "t").symlink_to("s")
    (tmp_path / "s" / "a.jpg").touch()
    structures = paths("s/a.jpg")
    for folder in (tmp_path / "s", Path("t")):
        assert list(pair_by_name(ImageGroup(structures, (folder / "a.jpg",)))) == [(structures[0], [])]


def test_link_to_an_image_of_the_same_folder_is_not_paired_with_it(tmp_path):
    images = tuple(tmp_path / f"{name}.jpg" for name in "abcd")
    images[0].touch()
    images[3].touch()
    for link in images[1:3]:
        link.symlink_to(images[0])
    for structure, appearances in pair_at_random(ImageGroup(images, images), 9, 0):
        assert appearances == ([*images[:3]] if structure == images[3] else [images[3]])


def test_random_pairing_is_seeded_and_without_replacement():
    pairings = dict(pair_at_random(MANY, 5, 0))
    assert pairings == dict(pair_at_random(MANY, 5, 0)) != dict(pair_at_random(MANY, 5, 1))
    for structure, appearances in pairings.items():
        assert len({*appearances, structure}) == 6
    assert {path for appearances in pairings.values() for path in appearances} == {*MANY.appearances}


def test_random_pairing_is_limited_by_the_number_of_images():
    for structure, appearances in pair_at_random(MANY, 99, 0):
        assert {*appearances} == {*MANY.appearances} - {structure}


def test_pairing_by_name_ignores_suffixes():
    group = ImageGroup(paths("s/a.jpg", "s/b.jpg", "s/c.jpg"), paths("t/c.png", "t/a.png", "t/d.png"))
    assert list(pair_by_name(group)) == [
        (Path("s/a.jpg"), [Path("t/a.png")]),
        (Path("s/b.jpg"), []),
        (Path("s/c.jpg"), [Path("t/c.png")]),
    ]


def test_names_without_a_match_or_with_several_are_refused():
    with pytest.raises(UserError, match="no structure image has the name"):
        list(pair_by_name(ImageGroup(paths("a.jpg"), paths("b.jpg"))))
    with pytest.raises(UserError, match="s/a.jpg and t/a.png have the same name apart from the suffix; rename one"):
        list(pair_by_name(ImageGroup(paths("s/a.jpg", "t/a.png"), paths("a.jpg"))))


def test_names_match_whether_accents_are_composed_or_decomposed():
    composed, decomposed = paths("s/\u00e9.png", "t/e\u0301.png")
    assert list(pair_by_name(ImageGroup((composed,), (decomposed,)))) == [(composed, [decomposed])]
    assert list(pair_by_name(ImageGroup((decomposed,), (composed,)))) == [(decomposed, [composed])]
