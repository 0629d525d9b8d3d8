from pathlib import Path

import pytest

from vitsplice.datasets import Pair, read, write
from vitsplice.errors import ConfigError, UserError

PAIRS = [
    Pair("cow-zebra", Path("/images/cow.jpg"), Path("/images/zebra.jpg"), licence="CC0", source="a, b"),
    Pair("bär", Path("x"), Path("y")),
]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "CSV"])
def test_what_is_written_is_read(tmp_path, ending):
    inside = Pair("in", tmp_path / "images/ä b.png", tmp_path / "c.png", tmp_path / "mask.png")
    pairs = [PAIRS[0], inside]
    path = tmp_path / f"pairs.{ending}"
    write(path, pairs)
    assert list(read(path)) == pairs
    assert str(tmp_path) not in path.read_text()


def test_paths_are_relative_to_the_manifest(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    path = tmp_path / "pairs.csv"
    path.write_text("id,structure,appearance\na,s.png,../t.png\n")
    assert next(read(path)).images == {"structure": tmp_path / "s.png", "appearance": tmp_path / "../t.png"}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.csv", "id,structure\na,b\n", "line 1: there is no field appearance; needed: id, structure"),
        ("p.csv", "id,structure,appearance\na,b,\n", "line 2: appearance is missing"),
        ("p.csv", "id;structure;appearance\na;b;c\n", "line 1: unknown field .*separated by commas"),
        ("p.jsonl", '{"id": "a", "structure": "b"}', "line 1: there is no field appearance"),
        ("p.csv", "id,structure,appearance\na,b\n", "line 2: has not as many"),
        ("p.csv", "id,structure,appearance\na,b,c,d\n", "line 2: has not as many"),
        ("p.csv", "id,structure,appearance,mask\na,b,c,d\n", "unknown field 'mask'"),
        ("p.csv", "id,structure,appearance\na,b,c\na,d,e\n", "line 3: id 'a' comes a second time, after line 2"),
        ("p.csv", 'id,structure,appearance\na,b,"c\n', "is not CSV"),
        ("p.csv", "id,structure,appearance\n../a,b,c\n", "cannot name a folder"),
        ("p.csv", "id,structure,appearance\n..,b,c\n", "cannot name a folder"),
        ("p.jsonl", '{"id": "a", "structure": 1, "appearance": "b"}', "structure must be text, not 1"),
        ("p.jsonl", '{"id": "a", "structure": "a\\u0000", "appearance": "b"}', "structure must be text"),
        ("p.jsonl", "[1]", "line 1: must be an object"),
        ("p.jsonl", "\n{", "line 2: is not JSON"),
        ("p.jsonl", "[" * 50_000, "is not JSON"),
        ("p.jsonl", "x" * 200_000, "longer than"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=says):
        list(read(tmp_path / name))


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"must end in \.csv or \.jsonl"):
        list(read(tmp_path / "pairs.txt"))
    with pytest.raises(UserError, match="cannot read"):
        list(read(tmp_path / "pairs.csv"))
    (tmp_path / "pairs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        list(read(tmp_path / "pairs.csv"))
    with pytest.raises(UserError, match="cannot be a manifest"):
        write(tmp_path / "pairs.txt", PAIRS)


def test_names_of_files_that_a_manifest_must_not_change_or_cannot_hold(tmp_path):
    path = tmp_path / "pairs.csv"
    pair = Pair("a", tmp_path / " space.png", tmp_path / 'new\nline, "quoted".png')
    write(path, [pair])
    assert list(read(path)) == [pair]
    with pytest.raises(UserError, match=r"not UTF-8, as in 'b,\\\\udcff"):
        write(path, [pair, Pair("b", tmp_path / "\udcff.png", tmp_path / "t.png")])
    assert list(read(path)) == [pair]


def test_a_long_manifest_is_not_held(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"id": "a", "structure": "s", "appearance": "t"}\n{"id": "b"}\n')
    assert next(read(path)).id == "a"
