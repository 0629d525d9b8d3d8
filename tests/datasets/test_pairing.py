from pathlib import Path

import pytest

from vitsplice.datasets.pairing import by_chance, by_name, every
from vitsplice.datasets.sources import Group
from vitsplice.errors import UserError


def paths(*names):
    return tuple(map(Path, names))


MANY = Group(*[tuple(Path(f"{number}.jpg") for number in range(30))] * 2)


def test_all_but_itself():
    chosen = dict(every(Group(*[paths("a", "b", "c")] * 2)))
    assert chosen == {
        Path("a"): [Path("b"), Path("c")],
        Path("b"): [Path("a"), Path("c")],
        Path("c"): [*paths("a", "b")],
    }


def test_a_link_to_itself_is_itself(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    group = Group((tmp_path / "a.jpg",), (tmp_path / "b.jpg",))
    assert list(every(group)) == [(tmp_path / "a.jpg", [])]
    assert list(by_chance(group, 1, 0)) == [(tmp_path / "a.jpg", [])]


def test_chance_is_seeded_and_never_takes_one_twice_or_itself():
    chosen = dict(by_chance(MANY, 5, 0))
    assert chosen == dict(by_chance(MANY, 5, 0)) != dict(by_chance(MANY, 5, 1))
    for structure, appearances in chosen.items():
        assert len({*appearances, structure}) == 6
    assert {path for appearances in chosen.values() for path in appearances} == {*MANY.appearances}


def test_chance_gives_what_there_is():
    for structure, appearances in by_chance(MANY, 99, 0):
        assert {*appearances} == {*MANY.appearances} - {structure}


def test_names_match_but_for_the_ending():
    group = Group(paths("s/a.jpg", "s/b.jpg", "s/c.jpg"), paths("t/c.png", "t/a.png", "t/d.png"))
    assert list(by_name(group)) == [
        (Path("s/a.jpg"), [Path("t/a.png")]),
        (Path("s/b.jpg"), []),
        (Path("s/c.jpg"), [Path("t/c.png")]),
    ]


def test_names_that_do_not_match_are_named():
    with pytest.raises(UserError, match="no structure image has the name"):
        list(by_name(Group(paths("a.jpg"), paths("b.jpg"))))
    with pytest.raises(UserError, match="have the same name"):
        list(by_name(Group(paths("a.jpg", "a.png"), paths("a.jpg"))))
