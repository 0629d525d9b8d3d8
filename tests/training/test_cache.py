import json
import shutil

import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import OutputBusy, PathRejected, TrainingCacheError
from vitsplice.training import cache
from vitsplice.training.cache import TensorCache, record_key

LIMIT = 10**9
INFINITE = '{"records": {}, "bytes": Infinity, "sha256": ""}'


def filled(folder, numbers, limit=LIMIT):
    """Write a record for each number to a cache, and return the cache."""
    tensors = TensorCache(folder, limit)
    with tensors.writing():
        for number in numbers:
            tensors.add(f"key{number}", {"values": noise(10, seed=number), "more": torch.tensor(number)})
        tensors.flush()
    return tensors


def shards(folder):
    return sorted(path.name for path in folder.glob("*.safetensors"))


def test_records_are_read_back_by_another_cache_of_the_folder(tmp_path):
    filled(tmp_path, range(5))
    other = TensorCache(tmp_path, LIMIT)
    for number in range(5):
        record = other[f"key{number}"]
        assert torch.equal(record["values"], noise(10, seed=number))
        assert int(record["more"]) == number
    assert "key5" not in other
    with pytest.raises(KeyError):
        other["key5"]


def test_a_full_shard_is_written_and_another_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SHARD_RECORDS", 2)
    filled(tmp_path, range(5))
    assert shards(tmp_path) == [f"shard-00000{number}.safetensors" for number in (1, 2, 3)]
    monkeypatch.setattr(cache, "OPEN_SHARDS", 1)
    other = TensorCache(tmp_path, LIMIT)
    for number in (0, 4, 1, 3, 2):
        assert int(other[f"key{number}"]["more"]) == number


def test_keys_of_records_differ_with_kind_and_content_but_not_with_the_order():
    keys = {record_key("a", x=1), record_key("b", x=1), record_key("a", x=2), record_key("a", y=1)}
    assert len(keys) == 4
    assert record_key("a", x=1, y=[2]) == record_key("a", y=[2], x=1)


def test_a_damaged_shard_is_refused_by_name_and_has_no_records_once_deleted(tmp_path):
    filled(tmp_path, [0])
    filled(tmp_path, [1])
    damaged = tmp_path / "shard-000002.safetensors"
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    other = TensorCache(tmp_path, LIMIT)
    assert int(other["key0"]["more"]) == 0
    with pytest.raises(TrainingCacheError, match=r"shard-000002\.safetensors is damaged"):
        other["key1"]
    damaged.unlink()
    other = TensorCache(tmp_path, LIMIT)
    assert "key0" in other
    assert "key1" not in other


def test_a_truncated_shard_is_refused(tmp_path):
    filled(tmp_path, [0])
    path = tmp_path / "shard-000001.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(TrainingCacheError, match="shard-000001"):
        TensorCache(tmp_path, LIMIT)["key0"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"records": 1, "bytes": 2, "sha256": 3}', INFINITE])
def test_a_shard_whose_index_is_invalid_has_no_records_until_they_are_written_again(tmp_path, content):
    filled(tmp_path, [0])
    (tmp_path / "shard-000001.json").write_text(content)
    other = TensorCache(tmp_path, LIMIT)
    assert "key0" not in other
    filled(tmp_path, [0])
    assert int(TensorCache(tmp_path, LIMIT)["key0"]["more"]) == 0


def test_what_a_killed_process_left_is_removed_and_finished_shards_stay(tmp_path):
    filled(tmp_path, [0])
    (tmp_path / "shard-000002.safetensors").write_bytes(b"half")
    temporary = tmp_path / f".{'0' * 16}.tmp"
    temporary.write_bytes(b"half")
    other = TensorCache(tmp_path, LIMIT)
    with other.writing():
        assert shards(tmp_path) == ["shard-000001.safetensors"]
        assert not temporary.exists()
        assert "key0" in other


def test_index_of_a_deleted_shard_is_removed(tmp_path):
    """Otherwise a process killed while it writes a shard of that name would leave the new shard with the old index."""
    filled(tmp_path, [0])
    (tmp_path / "shard-000001.safetensors").unlink()
    with TensorCache(tmp_path, LIMIT).writing():
        assert not (tmp_path / "shard-000001.json").exists()


def test_files_of_other_names_are_neither_shards_nor_removed(tmp_path):
    filled(tmp_path, [0])
    shutil.copy(tmp_path / "shard-000001.json", tmp_path / "shard-000001 (1).json")
    for name in ("shard-000001 (1).safetensors", "shard-a.safetensors"):
        (tmp_path / name).touch()
    before = {path.name for path in tmp_path.iterdir()}
    filled(tmp_path, [1])
    assert before < {path.name for path in tmp_path.iterdir()}
    assert "shard-000002.safetensors" in shards(tmp_path)


def test_cache_that_cannot_be_cleaned_is_named_and_not_locked(tmp_path):
    (tmp_path / "shard-000001.safetensors").mkdir(parents=True)
    tensors = TensorCache(tmp_path, LIMIT)
    with pytest.raises(TrainingCacheError, match=f"{tmp_path}.* cannot be used"), tensors.writing():
        pass
    (tmp_path / "shard-000001.safetensors").rmdir()
    with tensors.writing():
        pass


def test_cache_with_a_link_out_of_it_is_refused_and_not_locked(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"")
    folder = tmp_path / "cache"
    folder.mkdir()
    link = folder / "shard-000001.safetensors"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PathRejected) as rejected, TensorCache(folder, LIMIT).writing():
        pass
    link.unlink()
    with TensorCache(folder, LIMIT).writing():  # although the error, which refers to the first lock, is still alive
        assert "leads out of" in str(rejected.value)


def test_a_second_writer_of_the_folder_is_refused(tmp_path):
    first, second = TensorCache(tmp_path, LIMIT), TensorCache(tmp_path, LIMIT)
    with first.writing(), pytest.raises(OutputBusy), second.writing():
        pass


def test_a_shard_that_would_exceed_the_limit_is_not_written(tmp_path):
    size = filled(tmp_path, [0]).bytes
    assert size == (tmp_path / "shard-000001.safetensors").stat().st_size
    with pytest.raises(TrainingCacheError, match="choose another cache with"):
        filled(tmp_path, [1], limit=size + 20)
    assert shards(tmp_path) == ["shard-000001.safetensors"]


def test_a_shard_that_would_leave_too_little_space_on_the_disk_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "FREE", 2**60)  # more than any disk has
    with pytest.raises(TrainingCacheError):
        filled(tmp_path, [0])
    assert shards(tmp_path) == []


def test_the_index_lists_the_records_of_a_shard(tmp_path):
    filled(tmp_path, [3, 4])
    index = json.loads((tmp_path / "shard-000001.json").read_text())
    assert index["records"] == {"key3": ["more", "values"], "key4": ["more", "values"]}
