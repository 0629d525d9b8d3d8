"""Pretrained weights from the caches of huggingface_hub and torch.hub, or from the Hugging Face Hub ("the hub")."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor

from vitsplice.backbones.weights import read_state_dict
from vitsplice.errors import Argument, MessagePart, Setting, WeightsUnavailable
from vitsplice.text import first_line

PROBE_SECONDS = 4.0
"""Time limit for an answer of the hub."""

REACHABLE = "answers"
"""State of a hub that answers."""

ADVICE: tuple[MessagePart, ...] = (
    "\nGive a file with ",
    Setting("backbone.weights", "FILE"),
    ",\nor use an offline backbone: ",
    Argument("backbone", "dinov2-vits14-offline"),
    " (of the plugin vitsplice-offline).",
)
"""The next step if weights are unavailable."""


def hub_state_dict(pretrained_cfg: Mapping[str, Any], model: str) -> tuple[dict[str, Tensor], str]:
    """Read the weights of a timm model from a local file or a cache, or download them.

    Args:
        pretrained_cfg: timm's configuration; ``hf_hub_id``, ``hf_hub_filename``, ``url`` and ``file`` are optional.
        model: timm's name of the model, for messages.

    Returns:
        The state dict, and its source in words.

    Raises:
        WeightsUnavailable: if timm has no pretrained weights for the model, or they are not cached and cannot be
            downloaded. If the hub is unreachable, this is raised within 10 seconds.
        WeightsRejected: if the file of the weights cannot be read, or contains no state dict.
    """
    if file := pretrained_cfg.get("file"):
        return read_state_dict(Path(file)), f"file {Path(file).name}"
    hub_id, url = pretrained_cfg.get("hf_hub_id") or "", pretrained_cfg.get("url") or ""
    if not hub_id and not url:
        raise WeightsUnavailable(_no_source(pretrained_cfg, model), *ADVICE)
    repo, _, revision = hub_id.partition("@")
    names = file_names(pretrained_cfg.get("hf_hub_filename"))
    if repo and (path := in_hub_cache(repo, names, revision or None)):
        return read_state_dict(path), f"hub {hub_id}"
    if path := in_torch_cache(url):
        return read_state_dict(path), f"url {url}"
    if not repo:
        raise WeightsUnavailable(f"the weights of '{model}' are not cached, and only {url} has them.", *ADVICE)
    return read_state_dict(from_hub(repo, names, revision or None, model)), f"hub {hub_id}"


def _no_source(pretrained_cfg: Mapping[str, Any], model: str) -> str:
    import timm

    architecture = pretrained_cfg.get("architecture") or model.partition(".")[0]
    pretrained = timm.list_pretrained(f"{architecture}.*")
    return f"timm has no pretrained weights for '{model}'.{describe_pretrained(pretrained)}"


def describe_pretrained(pretrained: Sequence[str]) -> str:
    """Return a space and a sentence with the number of pretrained models of an architecture and some of their names."""
    if not pretrained:
        return " It has none of this architecture."
    return f" It has {len(pretrained)} of this architecture, such as {', '.join(pretrained[:5])}."


def file_names(name: str | None = None) -> list[str]:
    """Return the names that the weights may have in a repository, safetensors first."""
    if not name:
        return ["model.safetensors", "pytorch_model.bin"]
    return list(dict.fromkeys([str(PurePosixPath(name).with_suffix(".safetensors")), name]))


def in_hub_cache(repo: str, names: list[str], revision: str | None = None) -> Path | None:
    """Return the path of the first named file in huggingface_hub's cache, or None, without using the network."""
    from huggingface_hub import try_to_load_from_cache

    paths = (try_to_load_from_cache(repo, name, revision=revision) for name in names)
    return next((Path(path) for path in paths if isinstance(path, str)), None)


def torch_cache() -> Path:
    """Return the folder of torch.hub's cache of weights, which need not exist."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def in_torch_cache(url: str) -> Path | None:
    """Return the path of the file that torch.hub has cached for a URL.

    None if there is no such file, its suffix is not that of a weights file, or the URL is empty.
    """
    path = torch_cache() / Path(urlparse(url).path).name
    readable = path.suffix in {".safetensors", ".pth", ".pt", ".bin"}
    return path if readable and path.is_file() else None


def from_hub(repo: str, names: list[str], revision: str | None, model: str) -> Path:
    """Download the first named file that the repository has, and return its path in huggingface_hub's cache.

    Raises:
        WeightsUnavailable: if HF_HUB_OFFLINE is set, the hub is unreachable (after at most 10 seconds), has none of the
            files or refuses access, or the download fails.
    """
    from huggingface_hub import constants, hf_hub_download, is_offline_mode

    problem = f"the weights of '{model}' ({repo}) are not in the cache"
    if is_offline_mode():
        raise WeightsUnavailable(f"{problem}, and HF_HUB_OFFLINE is set.", *ADVICE)
    answer = _within_time_limit(lambda: _first_available(repo, names, revision))
    if answer not in names:
        raise WeightsUnavailable(f"{problem}, and the hub {constants.ENDPOINT} {answer}.", *ADVICE)
    try:
        return Path(hf_hub_download(repo, answer, revision=revision, etag_timeout=PROBE_SECONDS))
    except Exception as error:  # the client raises exceptions of many libraries
        raise WeightsUnavailable(f"{problem}, and the download failed ({first_line(error)}).", *ADVICE) from error


def probe_hub() -> tuple[str, str]:
    """Return the address of the hub and its state: `REACHABLE`, or why it is not used or does not answer in time."""
    from huggingface_hub import constants, is_offline_mode

    if is_offline_mode():
        return constants.ENDPOINT, "is not used, because HF_HUB_OFFLINE is set"
    return constants.ENDPOINT, _within_time_limit(_ping)


def _within_time_limit(ask: Callable[[], str]) -> str:
    """Return the answer of ``ask``, or why there is none within `PROBE_SECONDS`.

    ``ask`` runs in a daemon thread, because a DNS look-up has no timeout.
    """
    answers: list[str] = []

    def answer() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # the client raises exceptions of many libraries
            answers.append(f"is not reachable ({first_line(error)})")

    thread = threading.Thread(target=answer, name="vitsplice-hub-probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answers[0] if answers else f"is not reachable (no answer in {PROBE_SECONDS:.0f} seconds)"


def _ping() -> str:
    from huggingface_hub import constants, get_session

    with get_session().stream("HEAD", constants.ENDPOINT, timeout=PROBE_SECONDS):
        return REACHABLE


def _first_available(repo: str, names: list[str], revision: str | None) -> str:
    """Return the first of the names that the hub has, or the problem, worded to follow "the hub"."""
    for name in names:
        status = _status(repo, name, revision)
        if status in (200, 206):
            return name
        if status != 404:
            return _refusal(status)
    return f"has no {' or '.join(names)} in that repository (HTTP 404)"


def _status(repo: str, name: str, revision: str | None) -> int:
    """Request the first byte of a file, follow redirections, and return the HTTP status.

    Not `huggingface_hub.get_hf_file_metadata`: it does not follow the redirection to the storage server, which may be
    blocked although the hub answers.
    """
    from huggingface_hub import get_session, get_token, hf_hub_url

    headers = {"Range": "bytes=0-0"}
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"
    url = hf_hub_url(repo, name, revision=revision)
    with get_session().stream("GET", url, headers=headers, timeout=PROBE_SECONDS) as response:
        return int(response.status_code)


def _refusal(status: int) -> str:
    if status in (401, 403):
        reason = "the repository is gated, private or nonexistent; accept the licence on its page, and set HF_TOKEN"
        return f"refuses access (HTTP {status}): {reason}"
    return f"answered with HTTP {status}"
