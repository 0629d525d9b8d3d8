"""Reading files of weights without running code, digests, and strict loading."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from vitsplice.backbones.weights import digest, load_into, read_state_dict
from vitsplice.errors import WeightsRejected


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2), "count": torch.tensor(3)}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_safetensors_and_torch_files_are_read(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, tmp_path / "w.safetensors")
    (tmp_path / "other").mkdir()
    save_file(tensors, tmp_path / "other" / "W.SAFETENSORS")
    torch.save(tensors, tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.safetensors"), tensors)
    assert same(read_state_dict(tmp_path / "other" / "W.SAFETENSORS"), tensors)
    assert same(read_state_dict(tmp_path / "w.pth"), tensors)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: {"state_dict": t, "epoch": 3},
        lambda t: {"model": t, "optimizer": {"lr": 1.0}},
        lambda t: {"teacher": t, "student": {"other": torch.zeros(1)}},
        lambda t: {f"module.{name}": value for name, value in t.items()},
        lambda t: {"teacher": {f"module.backbone.{n}": v for n, v in t.items()}},
        lambda t: {f"backbone.{n}": v for n, v in t.items()} | {"head.weight": torch.zeros(1)},
    ],
)
def test_wrappers_and_prefixes_are_removed(tmp_path: Path, tensors: dict[str, Tensor], wrap: Any) -> None:
    torch.save(wrap(tensors), tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth"), tensors)


class Payload:
    """Creates a folder when it is unpickled without restrictions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_code_in_a_pickle_never_runs(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    created = tmp_path / "ran"
    torch.save({**tensors, "x": Payload(created)}, tmp_path / "zip.pth")
    torch.save({**tensors, "x": Payload(created)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Payload(created)))
    (tmp_path / "named.safetensors").write_bytes(pickle.dumps(Payload(created)))
    for name in ("zip.pth", "old.pth", "plain.pkl", "named.safetensors"):
        with pytest.raises(WeightsRejected, match=re.escape(name)):
            read_state_dict(tmp_path / name)
    assert not created.exists()


def header(entry: dict[str, Any], length: int | None = None) -> bytes:
    text = json.dumps({"a": entry}).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


HOSTILE = {
    "truncated.safetensors": save({"a": torch.zeros(100)})[:-50],
    "header-too-long.safetensors": header({}, length=2**62) + b"0" * 64,
    "offsets-past-end.safetensors": header({"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}) + b"0000",
    "shape-lies.safetensors": header({"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}) + b"0000",
    "shape-overflows.safetensors": header({"dtype": "F32", "shape": [2**63, 4], "data_offsets": [0, 4]}) + b"0000",
    "unknown-dtype.safetensors": header({"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}) + b"0000",
    "empty.safetensors": b"",
    "empty.pth": b"",
    "page.pth": b"<!doctype html><title>404</title>",
    "page.safetensors": b"<!doctype html><title>404</title>",
    "git-lfs-pointer.bin": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "zip.pth": b"PK\x03\x04" + b"\0" * 100,
    "number.pkl": pickle.dumps(3, protocol=2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name])
    with pytest.raises(WeightsRejected) as caught:
        read_state_dict(tmp_path / name)
    message = str(caught.value)
    assert name in message
    assert "accepted is a state dict in .safetensors" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "content",
    # a tensor on the device meta has no values
    [[torch.zeros(1)], {}, {"a": 3}, {"state_dict": {"a": "b"}}, {"a": torch.zeros(1, device="meta")}],
)
def test_files_without_a_state_dict_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsRejected, match=r"w\.pth"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("wrap", [dict, lambda tensors: {"epoch": 3, "state_dict": tensors}])
def test_entries_of_a_state_dict_that_are_no_tensors_are_named(
    tmp_path: Path, tensors: dict[str, Tensor], wrap: Any
) -> None:
    torch.save(wrap({**tensors, "step": 3}), tmp_path / "w.pth")
    with pytest.raises(WeightsRejected, match=r"w\.pth' contains entries other than .*: 1 of 4 \(step\); accepted"):
        read_state_dict(tmp_path / "w.pth")


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsRejected, match="does not exist"):
        read_state_dict(tmp_path / "none.pth")
    with pytest.raises(WeightsRejected, match="not a regular file"):
        read_state_dict(tmp_path)
    with pytest.raises(WeightsRejected, match="does not exist") as caught:
        read_state_dict(tmp_path / ("x" * 5000 + "\n"))
    assert "\n" not in str(caught.value)


def test_failed_allocation_is_not_reported_as_a_corrupt_file(
    tmp_path: Path, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    torch.save(tensors, tmp_path / "w.pth")
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(MemoryError):
        read_state_dict(tmp_path / "w.pth")


def test_digest_depends_on_names_dtypes_shapes_and_values_but_not_on_order_or_strides(
    tensors: dict[str, Tensor],
) -> None:
    base = digest(tensors)
    assert digest(dict(reversed(tensors.items()))) == base
    assert digest({**tensors, "a.weight": tensors["a.weight"].T.contiguous().T}) == base
    changed = [
        {**tensors, "a.bias": torch.zeros(2)},
        {**tensors, "a.bias": torch.ones(2, dtype=torch.bfloat16)},
        {**tensors, "a.weight": tensors["a.weight"].reshape(3, 2)},
        {**tensors, "empty": torch.zeros(0)},
        {name.upper(): tensor for name, tensor in tensors.items()},
    ]
    assert len({base, *map(digest, changed)}) == len(changed) + 1


def test_strict_loading_reports_differences() -> None:
    model = nn.Linear(3, 2)
    good = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    load_into(model, good, "file w.pth")
    assert torch.equal(model.weight, good["weight"])
    with pytest.raises(WeightsRejected, match=r"w\.pth.*1 missing \(bias\); 1 unexpected \(b\)"):
        load_into(model, {"weight": torch.ones(2, 3), "b": torch.zeros(2)}, "file w.pth")
    with pytest.raises(WeightsRejected, match=re.escape("weight (3, 2) instead of (2, 3)")):
        load_into(model, {**good, "weight": torch.ones(3, 2)}, "file w.pth")


@pytest.mark.parametrize(("value", "expected"), [(torch.nan, "contains NaN"), (torch.inf, "infinite values")])
def test_strict_loading_refuses_values_that_are_not_finite(value: float, expected: str) -> None:
    weight = torch.ones(2, 3)
    weight[1, 1] = value
    with pytest.raises(WeightsRejected, match=rf"w\.pth.*{expected} in 1 of 2 tensors \(weight\)"):
        load_into(nn.Linear(3, 2), {"weight": weight, "bias": torch.zeros(2)}, "file w.pth")


def test_strict_loading_refuses_values_that_overflow_in_the_model() -> None:
    weight = torch.full((2, 3), 1e300, dtype=torch.float64)
    with pytest.raises(WeightsRejected, match=r"w\.pth contains infinite values in 1 of 2 tensors \(weight\)"):
        load_into(nn.Linear(3, 2), {"weight": weight, "bias": torch.zeros(2)}, "file w.pth")


def test_strict_loading_converts_float8() -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    model = nn.Linear(3, 2)
    load_into(model, {"weight": weight.to(torch.float8_e4m3fn), "bias": torch.zeros(2)}, "file w.pth")
    assert torch.equal(model.weight, weight)
    with pytest.raises(WeightsRejected, match="contains NaN"):
        load_into(model, {"weight": (weight / 0).to(torch.float8_e4m3fn), "bias": torch.zeros(2)}, "file w.pth")


def test_strict_loading_accepts_a_missing_num_batches_tracked_and_refuses_an_integer_bias() -> None:
    tensors = nn.BatchNorm2d(2).state_dict()
    del tensors["num_batches_tracked"]
    load_into(nn.BatchNorm2d(2), tensors, "file")  # tensors._metadata has version 2: torch does not add the buffer
    load_into(nn.BatchNorm2d(2), dict(tensors), "file")  # without _metadata: torch adds it
    with pytest.raises(WeightsRejected, match=r"1 not floating point \(bias\)"):
        load_into(nn.BatchNorm2d(2), {**tensors, "bias": torch.zeros(2, dtype=torch.int32)}, "file")


def test_file_that_holds_no_weights_is_refused_without_torchs_advice_to_disable_weights_only(tmp_path):
    path = tmp_path / "photograph.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(64))
    with pytest.raises(
        WeightsRejected, match="it is not a state dict, or contains objects other than tensors"
    ) as error:
        read_state_dict(path)
    assert "weights_only` argument" not in str(error.value)
