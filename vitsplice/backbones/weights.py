"""Where pretrained weights come from, checked: a file, the hub's cache, the hub.

Nothing here runs code from a file: pickles are read with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from vitsplice.errors import Argument, Part, Setting, WeightsRejected, WeightsUnavailable
from vitsplice.support.files import file_sha256
from vitsplice.text import printable, truncate

PROBE_SECONDS = 4.0
"""The hub has this long, in all, to answer that it has a file."""

ANSWERS = "answers"

ACCEPTED = "a state dict in .safetensors, or one saved by torch.save that loads with weights_only=True"
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "teacher", "student")
ADVICE: tuple[Part, ...] = (
    "\nGive a file with ",
    Setting("backbone.weights", "FILE"),
    ",\nor use an offline backbone: ",
    Argument("backbone", "dinov2-vits14-offline"),
    " (install the plugin vitsplice-offline).",
)
"""What to do without the weights."""


def cache_folder() -> Path:
    """Where derived files are kept: ``$VITSPLICE_CACHE``, or in the user's cache folder. It may not exist."""
    if own := os.environ.get("VITSPLICE_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "vitsplice"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, on the CPU, by name.

    One level of a usual wrapper (``state_dict``, ``model``, ``teacher``, ...) is taken off, and so are the
    prefixes ``module.`` and ``backbone.``; of a checkpoint with a ``backbone.`` the rest is left out.

    Raises:
        WeightsRejected: if it is no such file. Code in a pickle is refused, never run.
    """
    shown = _shown(path)
    try:
        content = _load(path)
    except Exception as error:  # a hostile file can make a reader raise anything
        raise WeightsRejected(
            f"cannot read weights file '{shown}' ({_unreadable(error)}); accepted is {ACCEPTED}"
        ) from error
    tensors = _unwrap(content)
    if tensors is None:
        raise WeightsRejected(f"weights file '{shown}' holds no state dict; accepted is {ACCEPTED}")
    return _strip(_strip(tensors, "module."), "backbone.")


def sha256_of(path: Path) -> str:
    """The SHA-256 of the bytes of a weights file. Raises WeightsRejected if it cannot be read."""
    shown = _shown(path)
    try:
        return file_sha256(path)
    except OSError as error:
        raise WeightsRejected(f"cannot read weights file '{shown}' ({error.strerror or error})") from error


def _unreadable(error: Exception) -> str:
    """The reason that a reader gives, without torch's advice to run code of the file."""
    if isinstance(error, UnpicklingError):
        return "it is no state dict, or holds other objects than tensors"
    return _short(error)


def _shown(path: Path) -> str:
    """The path of a regular file, safe to print. Raises WeightsRejected if it is none."""
    shown = printable(str(path))
    if not os.path.isfile(path):
        what = "is not a regular file" if os.path.exists(path) else "does not exist"
        raise WeightsRejected(f"weights file '{shown}' {what}; accepted is {ACCEPTED}")
    return shown


def _load(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _unwrap(content: object) -> dict[str, Tensor] | None:
    if (tensors := _tensors(content)) is not None:
        return tensors
    inner = (content.get(key) for key in WRAPPERS) if isinstance(content, Mapping) else ()
    return next((found for value in inner if (found := _tensors(value)) is not None), None)


def _tensors(content: object) -> dict[str, Tensor] | None:
    """A mapping from names to ordinary tensors as a dict, or None if it is anything else."""
    if not isinstance(content, Mapping) or not content:
        return None
    if all(isinstance(name, str) and _is_ordinary(value) for name, value in content.items()):
        return {name: value.detach() for name, value in content.items()}
    return None


def _is_ordinary(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta and not value.is_quantized


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    inside = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    return inside or tensors


def digest(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 over the sorted names, and each tensor's dtype, shape and bytes."""
    total = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().cpu().contiguous()
        total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def load_into(model: nn.Module, state_dict: Mapping[str, Tensor], what: str) -> None:
    """Load every tensor of a model, and nothing else.

    Args:
        model: takes them.
        state_dict: the tensors by name.
        what: names the weights in the message.

    Raises:
        WeightsRejected: if names, shapes or kinds of number differ, or a value is not finite; it shows the first few.
    """
    own = model.state_dict()
    shared = [(name, tensor, own[name]) for name, tensor in state_dict.items() if name in own]
    shapes = [
        f"{name} {tuple(it.shape)} for {tuple(ours.shape)}" for name, it, ours in shared if it.shape != ours.shape
    ]
    rounded = [name for name, it, ours in shared if ours.is_floating_point() and not it.is_floating_point()]
    problems = [
        listed("missing", [name for name in own if name not in state_dict and not name.endswith(UNUSED)]),
        listed("unexpected", [name for name in state_dict if name not in own]),
        listed("of another shape", shapes),
        listed("not floating point", rounded),
    ]
    if any(problems):
        raise WeightsRejected(f"{what} does not fit {type(model).__name__}: {'; '.join(filter(None, problems))}")
    check_finite(state_dict, what)
    model.load_state_dict(state_dict, strict=True)


UNUSED = "num_batches_tracked"
"""A buffer of batch normalisation that eval mode does not use, and old checkpoints do not have."""


def check_finite(state_dict: Mapping[str, Tensor], what: str) -> None:
    """Raise WeightsRejected, saying where, if a value is NaN or infinite."""
    floating = {name: tensor for name, tensor in state_dict.items() if tensor.is_floating_point()}
    bad = {name: tensor for name, tensor in floating.items() if not tensor.isfinite().all()}
    if bad:
        kind = "NaN" if any(tensor.isnan().any() for tensor in bad.values()) else "infinite values"
        tensors = listed(f"of {len(state_dict)} tensors", list(bad))
        raise WeightsRejected(f"{what} contains {kind} in {tensors}; it may be damaged")


def listed(kind: str, names: list[str]) -> str:
    """How many there are of a kind, and the first few; "" for none."""
    if not names:
        return ""
    return f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def hub_state_dict(pretrained_cfg: Mapping[str, Any], model: str) -> tuple[dict[str, Tensor], str]:
    """The weights of a timm model from the cache or the hub.

    Args:
        pretrained_cfg: timm's, with ``hf_hub_id``, ``hf_hub_filename``, ``url``, ``file``.
        model: the name it was asked for by.

    Returns:
        The state dict, and where it comes from in words.

    Raises:
        WeightsUnavailable: within 10 seconds, if they are not in the cache and no hub is reachable.
        WeightsRejected: if the file is not what it should be.
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
    if path := _in_torch_cache(url):
        return read_state_dict(path), f"url {url}"
    if not repo:
        raise WeightsUnavailable(
            f"the weights of '{model}' are not in the cache, and not on the hub but at {url} .", *ADVICE
        )
    return read_state_dict(from_hub(repo, names, revision or None, model)), f"hub {hub_id}"


def _no_source(pretrained_cfg: Mapping[str, Any], model: str) -> str:
    import timm

    architecture = pretrained_cfg.get("architecture") or model.partition(".")[0]
    others = timm.list_pretrained(f"{architecture}.*")[:5]
    instead = f"it has for {', '.join(others)}" if others else "nor for another name of this architecture"
    return f"timm has no pretrained weights for '{model}'; {instead}."


def file_names(named: str | None = None) -> list[str]:
    """The names under which a repository may keep the weights, safetensors first."""
    if not named:
        return ["model.safetensors", "pytorch_model.bin"]
    return list(dict.fromkeys([str(Path(named).with_suffix(".safetensors")), named]))


def in_hub_cache(repo: str, names: list[str], revision: str | None = None) -> Path | None:
    """The first of the names that the hub's cache has of a repository; no network is used."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repo, name, revision=revision) for name in names)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _in_torch_cache(url: str) -> Path | None:
    """The file that torch.hub, and timm before it used the hub, keep for an address."""
    name = Path(urlparse(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    readable = path.suffix in {".safetensors", ".pth", ".pt", ".bin"}
    return path if readable and path.is_file() else None


def from_hub(repo: str, names: list[str], revision: str | None, model: str) -> Path:
    """The first of the names that a repository has, downloaded into the hub's cache.

    Raises:
        WeightsUnavailable: within 10 seconds, if no hub is reachable.
    """
    from huggingface_hub import constants, hf_hub_download, is_offline_mode

    where = f"the weights of '{model}' ({repo}) are not in the cache"
    if is_offline_mode():
        raise WeightsUnavailable(f"{where}, and HF_HUB_OFFLINE is set.", *ADVICE)
    answer = _probe(repo, names, revision)
    if answer not in names:
        raise WeightsUnavailable(f"{where}, and the hub {constants.ENDPOINT} {answer}.", *ADVICE)
    try:
        return Path(hf_hub_download(repo, answer, revision=revision, etag_timeout=PROBE_SECONDS))
    except Exception as error:  # the hub's client raises errors of many libraries
        raise WeightsUnavailable(f"{where}, and the download failed ({_short(error)}).", *ADVICE) from error


def _probe(repo: str, names: list[str], revision: str | None) -> str:
    """The first of the names that the hub has, or why there is none, in words that follow 'the hub'."""
    return _in_time(lambda: _ask(repo, names, revision))


def hub_answers() -> tuple[str, str]:
    """The address of the hub, and "answers", or why it does not, within `PROBE_SECONDS`."""
    from huggingface_hub import constants, is_offline_mode

    if is_offline_mode():
        return constants.ENDPOINT, "is not asked, since HF_HUB_OFFLINE is set"
    return constants.ENDPOINT, _in_time(_greet)


def _in_time(ask: Callable[[], str]) -> str:
    """An answer of the hub, in a thread of its own, because a name look-up that hangs knows no time-out."""
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), name="vitsplice-hub-probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answers[0] if answers else f"is not reachable (no answer in {PROBE_SECONDS:.0f} seconds)"


def _greet() -> str:
    from huggingface_hub import constants, get_session

    try:
        with get_session().stream("HEAD", constants.ENDPOINT, timeout=PROBE_SECONDS):
            return ANSWERS
    except Exception as error:  # the hub's client raises errors of many libraries
        return f"is not reachable ({_short(error)})"


def _ask(repo: str, names: list[str], revision: str | None) -> str:
    try:
        for name in names:
            status = _status(repo, name, revision)
            if status in (200, 206):
                return name
            if status != 404:
                return _refusal(status)
    except Exception as error:  # the hub's client raises errors of many libraries
        return f"is not reachable ({_short(error)})"
    return f"has no {' or '.join(names)} there (HTTP 404)"


def _status(repo: str, name: str, revision: str | None) -> int:
    """The HTTP status of asking for a file's first byte, redirections followed."""
    from huggingface_hub import get_session, get_token, hf_hub_url

    headers = {"Range": "bytes=0-0"}
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"
    url = hf_hub_url(repo, name, revision=revision)
    with get_session().stream("GET", url, headers=headers, timeout=PROBE_SECONDS) as answer:
        return int(answer.status_code)


def _refusal(status: int) -> str:
    if status in (401, 403):
        return f"refuses them (HTTP {status}): gated or private; accept the licence on its page and set HF_TOKEN"
    return f"answered with HTTP {status}"


def _short(error: BaseException) -> str:
    """The first line of an error's message, or its kind if it has none."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    line = line or type(error).__name__
    return truncate(line, 120)
