"""Weights are read without running code, and a hub that is not reachable is answered soon."""

from __future__ import annotations

import json
import os
import pickle
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save, save_file
from torch import Tensor, nn

from vitsplice.backbones import weights
from vitsplice.backbones.weights import cache_folder, digest, hub_state_dict, load_into, read_state_dict
from vitsplice.errors import WeightsRejected, WeightsUnavailable

REPO = "timm/some_vit.tag"
CFG = {"hf_hub_id": REPO, "url": "https://example.invalid/some_vit-0123.pth", "architecture": "some_vit"}
COMMIT = "0" * 39 + "1"


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2), "count": torch.tensor(3)}


# Reading files


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_safetensors_and_torch_files_are_read(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save(tensors, tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.safetensors"), tensors)
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
def test_wrappers_and_prefixes_are_taken_off(tmp_path: Path, tensors: dict[str, Tensor], wrap: Any) -> None:
    torch.save(wrap(tensors), tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth"), tensors)


class Payload:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_code_in_a_pickle_never_runs(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    trace = tmp_path / "ran"
    torch.save({**tensors, "x": Payload(trace)}, tmp_path / "zip.pth")
    torch.save({**tensors, "x": Payload(trace)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Payload(trace)))
    (tmp_path / "named.safetensors").write_bytes(pickle.dumps(Payload(trace)))
    for name in ("zip.pth", "old.pth", "plain.pkl", "named.safetensors"):
        with pytest.raises(WeightsRejected, match=re.escape(name)):
            read_state_dict(tmp_path / name)
    assert not trace.exists()


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
    "text.bin": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
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
    assert ".safetensors" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "content",
    [[torch.zeros(1)], {}, {"a": 3}, {"state_dict": {"a": "b"}}, {"a": torch.zeros(1, device="meta")}],
)
def test_files_without_a_state_dict_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsRejected, match=r"w\.pth"):
        read_state_dict(tmp_path / "w.pth")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsRejected, match="does not exist"):
        read_state_dict(tmp_path / "none.pth")
    with pytest.raises(WeightsRejected, match="not a regular file"):
        read_state_dict(tmp_path)
    with pytest.raises(WeightsRejected, match="does not exist") as caught:
        read_state_dict(tmp_path / ("x" * 5000 + "\n"))
    assert "\n" not in str(caught.value)


# Digest, strict loading, cache folder


def test_digest_sees_names_types_shapes_and_values_but_not_order(tensors: dict[str, Tensor]) -> None:
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


def test_loading_is_strict_and_says_what_differs() -> None:
    model = nn.Linear(3, 2)
    good = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    load_into(model, good, "file w.pth")
    assert torch.equal(model.weight, good["weight"])
    with pytest.raises(WeightsRejected, match=r"w\.pth.*1 missing \(bias\); 1 unexpected \(b\)"):
        load_into(model, {"weight": torch.ones(2, 3), "b": torch.zeros(2)}, "file w.pth")
    with pytest.raises(WeightsRejected, match=re.escape("weight (3, 2) for (2, 3)")):
        load_into(model, {**good, "weight": torch.ones(3, 2)}, "file w.pth")


@pytest.mark.parametrize(("value", "said"), [(torch.nan, "contains NaN"), (torch.inf, "infinite values")])
def test_strict_loading_refuses_values_that_are_not_finite(value: float, said: str) -> None:
    weight = torch.ones(2, 3)
    weight[1, 1] = value
    with pytest.raises(WeightsRejected, match=rf"w\.pth.*{said} in 1 of 2 tensors \(weight\)"):
        load_into(nn.Linear(3, 2), {"weight": weight, "bias": torch.zeros(2)}, "file w.pth")


def test_strict_loading_takes_batch_norm_without_a_count_and_refuses_integers() -> None:
    tensors = {name: t for name, t in nn.BatchNorm2d(2).state_dict().items() if name != "num_batches_tracked"}
    load_into(nn.BatchNorm2d(2), tensors, "file")
    with pytest.raises(WeightsRejected, match=r"1 not floating point \(bias\)"):
        load_into(nn.BatchNorm2d(2), {**tensors, "bias": torch.zeros(2, dtype=torch.int32)}, "file")


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("VITSPLICE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache/vitsplice"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/vitsplice"
    monkeypatch.setenv("VITSPLICE_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"
    assert not list(tmp_path.iterdir())


# The hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """An empty hub cache and torch cache; call it with the address of the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")

    def use(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    use("http://127.0.0.1:1")
    return use


class Server(ThreadingHTTPServer):
    """A hub with one folder of files; ``status`` is what it answers for every file if it is set."""

    daemon_threads = True
    files: dict[str, bytes]
    status: int | None = None
    authorisation: str | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.authorisation = self.headers.get("Authorization")
        content = self.server.files.get(self.path.rpartition("/")[2])
        self.send_response(self.server.status or (404 if content is None else 200))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", '"0123"')
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content or b"")


@pytest.fixture
def server(hub: Callable[[str], None]) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.files = {}
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        hub(f"http://127.0.0.1:{running.server_port}")
        yield running
        running.shutdown()
        huggingface_hub.close_session()


def refused() -> str:
    """The message of an attempt that must fail."""
    with pytest.raises(WeightsUnavailable) as caught:
        hub_state_dict(CFG, "some-vit")
    message = str(caught.value)
    assert "some-vit" in message
    assert "backbone.weights=FILE" in message
    assert "backbone='dinov2-vits14-offline'" in message
    assert len(message.splitlines()) <= 3
    return message


def fill_cache(tmp_path: Path, name: str, content: bytes) -> None:
    """The layout of the hub's cache: a commit's snapshot, and a branch that points to it."""
    repo = tmp_path / "hf" / ("models--" + REPO.replace("/", "--"))
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text(COMMIT)
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    (repo / "snapshots" / COMMIT / name).write_bytes(content)


@pytest.mark.usefixtures("hub")
def test_the_hub_cache_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    monkeypatch.setattr(weights, "_probe", lambda *_: pytest.fail("asked the hub"))
    fill_cache(tmp_path, "model.safetensors", save(tensors))
    found, source = hub_state_dict(CFG, "some-vit")
    assert same(found, tensors)
    assert source == f"hub {REPO}"


@pytest.mark.usefixtures("hub")
def test_the_torch_cache_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    monkeypatch.setattr(weights, "_probe", lambda *_: pytest.fail("asked the hub"))
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    torch.save(tensors, folder / "some_vit-0123.pth")
    found, source = hub_state_dict(CFG, "some-vit")
    assert same(found, tensors)
    assert source == f"url {CFG['url']}"


@pytest.mark.usefixtures("hub")
def test_a_damaged_cache_is_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    fill_cache(tmp_path, "model.safetensors", save(tensors)[:-1])
    with pytest.raises(WeightsRejected, match=r"model\.safetensors"):
        hub_state_dict(CFG, "some-vit")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_the_hub_is_asked_for_safetensors_then_for_torch(
    server: Server, tmp_path: Path, tensors: dict[str, Tensor], name: str
) -> None:
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    bins = (tmp_path / "pytorch_model.bin").read_bytes()
    server.files = {name: save(tensors) if name.endswith("safetensors") else bins}
    for _ in range(2):
        found, source = hub_state_dict(CFG, "some-vit")
        assert same(found, tensors)
        assert source == f"hub {REPO}"
        server.status = 503


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "gated"), (403, "gated"), (404, "HTTP 404"), (503, "HTTP 503"), (None, "HTTP 404")],
)
def test_refusals_of_the_hub_are_told(server: Server, status: int | None, says: str) -> None:
    server.status = status
    assert says in refused()


def test_the_token_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    server.status = 403
    refused()
    assert server.authorisation == "Bearer hf_test"


@pytest.mark.usefixtures("hub")
def test_a_name_look_up_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(weights, "_ask", lambda *_: str(released.wait(5)))
    monkeypatch.setattr(weights, "PROBE_SECONDS", 0.2)
    start = time.monotonic()
    assert "not reachable" in refused()
    assert time.monotonic() - start < 2
    released.set()


IMPORTS = 5.0
"""Seconds that a busy machine may take to import torch."""

SCRIPT = f"""
import sys
from vitsplice.backbones.weights import hub_state_dict
from vitsplice.errors import WeightsUnavailable
try:
    hub_state_dict({CFG!r}, "some-vit")
except WeightsUnavailable as error:
    sys.exit(str(error))
"""


def run_with(tmp_path: Path, **environment: str) -> tuple[str, float]:
    """What a process of its own says, and how long it takes, its end included."""
    own = {"HF_HOME": str(tmp_path / "hf"), "TORCH_HOME": str(tmp_path / "torch"), "NO_PROXY": "*"}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr, time.monotonic() - start


def test_a_hub_that_refuses_connections(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        message, seconds = run_with(tmp_path, HF_ENDPOINT=address, HF_HUB_OFFLINE="0")
    assert f"the hub {address} is not reachable" in message
    assert len(message.splitlines()) == 3
    assert seconds < 5 + IMPORTS


def test_a_hub_that_accepts_and_never_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        message, seconds = run_with(tmp_path, HF_ENDPOINT=address, HF_HUB_OFFLINE="0")
    assert f"the hub {address} is not reachable" in message
    assert len(message.splitlines()) == 3
    assert seconds < 10 + IMPORTS


def test_offline_mode_is_respected(tmp_path: Path) -> None:
    message, _ = run_with(tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in message


# Names without weights


def test_names_without_weights_say_which_have() -> None:
    with pytest.raises(WeightsUnavailable, match=r"vit_base_patch8_224\.dino"):
        hub_state_dict({"architecture": "vit_base_patch8_224"}, "vit_base_patch8_224.other")
    with pytest.raises(WeightsUnavailable, match="no pretrained weights for 'coatnet_0_224'"):
        hub_state_dict({}, "coatnet_0_224")


@pytest.mark.usefixtures("hub")
def test_weights_that_are_not_on_the_hub_say_where_they_are() -> None:
    with pytest.raises(WeightsUnavailable, match=re.escape(CFG["url"])):
        hub_state_dict({"url": CFG["url"]}, "gcvit")


def test_a_file_in_the_settings_of_timm(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, tmp_path / "w.safetensors")
    found, source = hub_state_dict({**CFG, "file": str(tmp_path / "w.safetensors")}, "some-vit")
    assert same(found, tensors)
    assert source == "file w.safetensors"


def test_a_file_that_is_no_weights_file_is_refused_without_advice_to_run_its_code(tmp_path):
    path = tmp_path / "photograph.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(64))
    with pytest.raises(WeightsRejected, match="it is no state dict, or holds other objects than tensors") as error:
        read_state_dict(path)
    assert "weights_only argument" not in str(error.value)
