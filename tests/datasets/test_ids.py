import pytest

from vitsplice.datasets.ids import Ids
from vitsplice.datasets.manifest import ID

ODD = ["cat", "Kätzchen 1", "猫", "../..", "-rf", ".hidden", "a" * 300, "a\nb", "", "ﬁne", "\udcff"]


@pytest.mark.parametrize("name", ODD)
def test_any_name_makes_a_valid_id(name):
    ids = Ids()
    for made in (
        ids(name),
        ids(name, name),
        ids(name),
        ids("cat", name),
        ids(name, name, name),
        ids("train/cat", name, "1"),
    ):
        assert ID.fullmatch(made), made


def test_ids_are_told_apart_by_a_file_system_without_capitals():
    ids, names = Ids(), ["a", "A", "a-2", "a", "a-2-2", "b", "a.", "a"]
    made = [ids(name) for name in names * 3]
    assert len({one.lower() for one in made}) == len(made)
    assert made[:2] == ["a", "A-2"]


def test_an_id_is_read_as_its_names():
    assert Ids()("Kätzchen 1", "zebra") == "Katzchen_1--zebra"
    assert Ids()("train/cat", "1", "2") == "train_cat--1--2"


def test_long_names_that_begin_alike_are_told_apart_and_do_not_depend_on_each_other():
    black, white = ("a_rather_long_name_of_a_breed_that_is_" + colour for colour in ("black", "white"))
    ids = Ids()
    first, second = ids(black, "1", "2"), ids(white, "1", "2")
    assert not second.endswith("--1--2-2")
    assert Ids()(white, "1", "2") == second != first
    assert first.startswith("a_rather_long_name_of")


def test_many_of_a_name_take_no_longer_each():
    ids = Ids()
    assert [ids("same") for _ in range(20_000)][-1] == "same-20000"
