"""Weights from the caches and the hub; an unreachable hub is reported within seconds."""

from __future__ import annotations

import io
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save, save_file
from torch import Tensor

from vitsplice.backbones import hub as hub_module
from vitsplice.backbones.hub import hub_state_dict
from vitsplice.errors import WeightsRejected, WeightsUnavailable

REPO = "timm/some_vit.tag"
CFG = {"hf_hub_id": REPO, "url": "https://example.invalid/some_vit-0123.pth", "architecture": "some_vit"}
COMMIT = "0" * 39 + "1"


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2), "count": torch.tensor(3)}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Use empty caches of the hub and of torch; yield a function that sets the address of the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")

    def use(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    use("http://127.0.0.1:1")
    yield use
    huggingface_hub.close_session()


class Server(ThreadingHTTPServer):
    """A hub with one folder of files; ``status`` replaces the HTTP status of every answer."""

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


def refused() -> str:
    """Return the message of the error that loading raises."""
    with pytest.raises(WeightsUnavailable) as caught:
        hub_state_dict(CFG, "some-vit")
    message = str(caught.value)
    assert "some-vit" in message
    assert "backbone.weights=FILE" in message
    assert "backbone='dinov2-vits14-offline'" in message
    assert len(message.splitlines()) <= 3
    return message


def fill_cache(tmp_path: Path, name: str, content: bytes) -> None:
    """Write a file in the layout of the hub's cache: a snapshot of a commit, and a branch that points to it."""
    repo = tmp_path / "hf" / ("models--" + REPO.replace("/", "--"))
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text(COMMIT)
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    (repo / "snapshots" / COMMIT / name).write_bytes(content)


@pytest.mark.usefixtures("hub")
def test_weights_in_the_hub_cache_need_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    monkeypatch.setattr(hub_module, "_within_time_limit", lambda *_: pytest.fail("the hub was asked"))
    fill_cache(tmp_path, "model.safetensors", save(tensors))
    state_dict, source = hub_state_dict(CFG, "some-vit")
    assert same(state_dict, tensors)
    assert source == f"hub {REPO}"


@pytest.mark.usefixtures("hub")
def test_weights_in_the_torch_cache_need_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    monkeypatch.setattr(hub_module, "_within_time_limit", lambda *_: pytest.fail("the hub was asked"))
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    torch.save(tensors, folder / "some_vit-0123.pth")
    state_dict, source = hub_state_dict(CFG, "some-vit")
    assert same(state_dict, tensors)
    assert source == f"url {CFG['url']}"


@pytest.mark.usefixtures("hub")
def test_corrupt_cached_file_is_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    fill_cache(tmp_path, "model.safetensors", save(tensors)[:-1])
    with pytest.raises(WeightsRejected, match=r"model\.safetensors"):
        hub_state_dict(CFG, "some-vit")


def torch_file(tensors: dict[str, Tensor]) -> bytes:
    content = io.BytesIO()
    torch.save(tensors, content)
    return content.getvalue()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_file_that_the_hub_has_is_downloaded_once(server: Server, tensors: dict[str, Tensor], name: str) -> None:
    server.files = {name: save(tensors) if name.endswith("safetensors") else torch_file(tensors)}
    for _ in range(2):
        state_dict, source = hub_state_dict(CFG, "some-vit")
        assert same(state_dict, tensors)
        assert source == f"hub {REPO}"
        server.status = 503


def test_safetensors_are_preferred_to_torch_files(server: Server, tensors: dict[str, Tensor]) -> None:
    server.files = {"pytorch_model.bin": torch_file({"other": torch.zeros(1)}), "model.safetensors": save(tensors)}
    state_dict, _ = hub_state_dict(CFG, "some-vit")
    assert same(state_dict, tensors)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "gated, private or nonexistent"),
        (403, "gated"),
        (404, "in that repository (HTTP 404)"),
        (503, "HTTP 503"),
    ],
)
def test_refusal_of_the_hub_is_reported(server: Server, status: int, expected: str) -> None:
    server.status = status
    assert expected in refused()


def test_token_is_sent_to_the_hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    server.status = 403
    refused()
    assert server.authorisation == "Bearer hf_test"


@pytest.mark.usefixtures("hub")
def test_hanging_name_look_up_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(hub_module, "_first_available", lambda *_: str(released.wait(20)))
    monkeypatch.setattr(hub_module, "PROBE_SECONDS", 0.05)
    start = time.monotonic()
    assert "not reachable" in refused()
    assert time.monotonic() - start < 10
    assert {thread.daemon for thread in threading.enumerate() if thread.name == "vitsplice-hub-probe"} == {True}
    released.set()


def test_refused_connection_is_reported_within_seconds(hub: Callable[[str], None]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        hub(address)
        start = time.monotonic()
        message = refused()
    assert time.monotonic() - start < 10
    assert f"the hub {address} is not reachable" in message
    assert len(message.splitlines()) == 3


def test_silent_hub_is_reported_within_seconds(hub: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_module.PROBE_SECONDS <= 5
    monkeypatch.setattr(hub_module, "PROBE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hub(address)
        start = time.monotonic()
        message = refused()
    assert time.monotonic() - start < 5
    assert f"the hub {address} is not reachable" in message
    assert len(message.splitlines()) == 3


@pytest.mark.usefixtures("hub")
def test_offline_mode_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused()


def test_name_without_weights_is_refused_with_alternatives() -> None:
    with pytest.raises(WeightsUnavailable, match=r"vit_base_patch8_224\.dino"):
        hub_state_dict({"architecture": "vit_base_patch8_224"}, "vit_base_patch8_224.other")
    with pytest.raises(WeightsUnavailable, match="no pretrained weights for 'coatnet_0_224'"):
        hub_state_dict({}, "coatnet_0_224")


@pytest.mark.usefixtures("hub")
def test_url_of_weights_outside_the_hub_is_reported() -> None:
    with pytest.raises(WeightsUnavailable, match=re.escape(CFG["url"])):
        hub_state_dict({"url": CFG["url"]}, "gcvit")


def test_file_in_timms_configuration_is_read(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, tmp_path / "w.safetensors")
    state_dict, source = hub_state_dict({**CFG, "file": str(tmp_path / "w.safetensors")}, "some-vit")
    assert same(state_dict, tensors)
    assert source == "file w.safetensors"
