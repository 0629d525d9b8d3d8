from pathlib import Path
from time import process_time

import pytest

from vitsplice.datasets import Pair, count, read, write
from vitsplice.datasets.manifest import PairIds
from vitsplice.datasets.pair import ID
from vitsplice.errors import ConfigError, UserError

PAIR = Pair("cow-zebra", Path("/images/cow.jpg"), Path("/images/zebra.jpg"), licence="CC0", source="a, b")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "CSV"])
def test_written_manifest_is_read_back(tmp_path, suffix):
    below = Pair("in", tmp_path / "images/ä b.png", tmp_path / "c.png", tmp_path / "mask.png")
    path = tmp_path / f"pairs.{suffix}"
    write(path, [PAIR, below])
    assert list(read(path)) == [PAIR, below]
    assert str(tmp_path) not in path.read_text()


def test_paths_are_relative_to_the_manifest(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    path = tmp_path / "pairs.csv"
    path.write_text("id,structure,appearance\na,s.png,../t.png\n")
    assert next(read(path)).images == {"structure": tmp_path / "s.png", "appearance": tmp_path / "../t.png"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "id,structure\na,b\n", "line 1: field appearance is missing; required: id, structure"),
        ("p.csv", "id,structure,appearance\na,b,\n", "line 2: appearance is empty"),
        ("p.csv", "id;structure;appearance\na;b;c\n", "line 1: unknown field .*separated by commas"),
        ("p.jsonl", '{"id": "a", "structure": "b"}', "line 1: field appearance is missing"),
        ("p.csv", "id,structure,appearance\na,b\n", "line 2: must have as many"),
        ("p.csv", "\nid,structure,appearance\na,b,c\n", "line 1: field id is missing; required: id, structure"),
        ("p.csv", "id,structure,appearance\na,b,c,d\n", "line 2: must have as many"),
        ("p.csv", "id,structure,appearance,mask\na,b,c,d\n", "unknown field 'mask'"),
        ("p.csv", "id,structure,appearance\na,b,c\na,d,e\n", "line 3: duplicate id 'a', also in line 2$"),
        ("p.csv", "id,structure,appearance\na,b,c\nA,d,e\n", "line 3: duplicate id 'A', also in line 2; .* capital"),
        ("p.csv", "id,structure,appearance,appearance\na,b,c,d\n", "line 1: field appearance occurs twice; further"),
        ("p.jsonl", '{"id": "a", "id": "b", "structure": "c", "appearance": "d"}', "line 1: field id occurs twice$"),
        ("p.csv", 'id,structure,appearance\na,b,"c\n', "is not CSV"),
        ("p.csv", "id,structure,appearance\n../a,b,c\n", "cannot name a folder"),
        ("p.csv", "id,structure,appearance\n..,b,c\n", "cannot name a folder"),
        ("p.csv", "id,structure,appearance\na.,b,c\n", "id 'a.' cannot name a folder; .* the last no '.'"),
        ("p.jsonl", '{"id": "a", "structure": 1, "appearance": "b"}', "structure must be text, not 1"),
        ("p.jsonl", '{"id": "a", "structure": "a\\u0000", "appearance": "b"}', "structure must be text"),
        (
            "p.jsonl",
            '{"id": "a", "structure": "s", "appearance": "b", "appearance_weight": true}',
            "appearance_weight must be a number, not True",
        ),
        (
            "p.jsonl",
            '{"id": "a", "structure": "\\ud800.png", "appearance": "b"}',
            "line 1: structure has a character that UTF-8 cannot encode",
        ),
        ("p.jsonl", '{"id": "a", "structure": null, "appearance": "b"}', "structure is empty"),
        ("p.jsonl", "[1]", "line 1: must be an object"),
        ("p.jsonl", "\n{", "line 2: is not JSON"),
        ("p.jsonl", "[" * 50_000, "is not JSON"),
        ("p.jsonl", "x" * 200_000, "longer than"),
    ],
)
def test_invalid_line_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        list(read(tmp_path / name))


def test_unreadable_manifest_is_named(tmp_path):
    with pytest.raises(UserError, match=r"must end in \.csv or \.jsonl"):
        list(read(tmp_path / "pairs.txt"))
    with pytest.raises(UserError, match="does not exist"):
        list(read(tmp_path / "pairs.csv"))
    (tmp_path / "pairs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        list(read(tmp_path / "pairs.csv"))
    with pytest.raises(UserError, match="cannot be a manifest"):
        write(tmp_path / "pairs.txt", [PAIR])


def test_unusual_file_names_are_read_back_unless_they_are_not_utf8(tmp_path):
    path = tmp_path / "pairs.csv"
    pair = Pair("a", tmp_path / " space.png", tmp_path / 'new\nline, "quoted".png')
    write(path, [pair])
    assert list(read(path)) == [pair]
    with pytest.raises(UserError, match=r"not UTF-8, as in 'b,\\\\udcff"):
        write(path, [pair, Pair("b", tmp_path / "\udcff.png", tmp_path / "t.png")])
    assert list(read(path)) == [pair]


def test_manifest_is_read_line_by_line(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"id": "a", "structure": "s", "appearance": "t"}\n{"id": "b"}\n')
    assert next(read(path)).id == "a"


@pytest.mark.slow
def test_count_is_the_number_of_pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    for number in (1000, 0):
        write(path, [Pair(f"p{index}", tmp_path / "s", tmp_path / "a") for index in range(number)])
        assert count(path) == number


def test_count_refuses_a_duplicate_id_with_its_line(tmp_path):
    path = tmp_path / "pairs.jsonl"
    for name in "aA":
        write(path, [Pair(id_, tmp_path / "s", tmp_path / "a") for id_ in ("a", "b", "c", name)])
        with pytest.raises(ConfigError, match=f"line 4: duplicate id '{name}'"):
            count(path)


ODD_NAMES = ["cat", "Kätzchen 1", "猫", "../..", "-rf", ".hidden", "a" * 300, "a\nb", "", "ﬁne", "\udcff"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_gives_a_valid_id(name):
    ids = PairIds()
    for names in ([name], [name, name], [name], ["cat", name], [name, name, name], ["train/cat", name, "1"]):
        assert ID.fullmatch(ids(*names)), names


def test_ids_differ_by_more_than_capital_letters():
    ids, names = PairIds(), ["a", "A", "a-2", "a", "a-2-2", "b", "a.", "a"]
    generated = [ids(name) for name in names * 3]
    assert len({pair_id.lower() for pair_id in generated}) == len(generated)
    assert generated[:2] == ["a", "A-2"]


def test_id_joins_the_names():
    assert PairIds()("Kätzchen 1", "zebra") == "Katzchen_1--zebra"
    assert PairIds()("train/cat", "1", "2") == "train_cat--1--2"


def test_shortened_names_with_a_common_start_give_different_independent_ids():
    black, white = ("a_rather_long_name_of_a_breed_that_is_" + colour for colour in ("black", "white"))
    ids = PairIds()
    first, second = ids(black, "1", "2"), ids(white, "1", "2")
    assert not second.endswith("--1--2-2")
    assert PairIds()(white, "1", "2") == second != first
    assert first.startswith("a_rather_long_name_of")


def test_twenty_thousand_ids_of_one_name_take_seconds():
    """0.2 s of CPU time; minutes if each search for a free number began at 2."""
    ids, started = PairIds(), process_time()
    assert [ids("same") for _ in range(20_000)][-1] == "same-20000"
    assert process_time() - started < 5


def test_name_that_is_not_utf8_is_read_from_json(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"id": "a", "structure": "\\udce9.png", "appearance": "b"}')
    assert next(read(tmp_path / "p.jsonl")).structure == tmp_path / "\udce9.png"
