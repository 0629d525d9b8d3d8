import pytest

from vitsplice.datasets import Pair, count, write
from vitsplice.errors import ConfigError


def test_pairs_are_counted(tmp_path):
    path = tmp_path / "pairs.csv"
    write(path, [Pair(f"p{number}", tmp_path / "s", tmp_path / "a") for number in range(1000)])
    assert count(path) == 1000
    write(path, [])
    assert count(path) == 0


def test_an_id_that_comes_twice_is_refused_with_its_line(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write(path, [Pair(name, tmp_path / "s", tmp_path / "a") for name in ("a", "b", "c", "a")])
    with pytest.raises(ConfigError, match="line 4: id 'a' comes a second time"):
        count(path)
