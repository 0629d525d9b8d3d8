"""Checks of the installation and of the default preset, and information for a bug report."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vitsplice.config import BackboneConfig
from vitsplice.contracts import BackboneSpec
from vitsplice.errors import (
    PartRejected,
    PluginConflict,
    UnknownName,
    UserError,
    VitspliceError,
    WeightsRejected,
    WeightsUnavailable,
)
from vitsplice.plugins import Catalogue
from vitsplice.runs.record import versions

GIB = 2**30
LEAST_MEMORY = 2 * GIB
"""Free memory in bytes below which there is advice. The default preset needs 1.6 GiB for images of 512 x 512 px."""

LEAST_DISK = GIB // 10
"""Free space in bytes below which a disk counts as full."""


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check.

    Args:
        section: group of checks.
        name: what is checked.
        value: its state.
        advice: what is wrong and what to do about it; "" if nothing is wrong.
        fatal: whether the default preset cannot run because of this.
    """

    section: str
    name: str
    value: str
    advice: str = ""
    fatal: bool = False


def diagnose(catalogue: Catalogue) -> list[Diagnosis]:
    """Run all checks. The hub is contacted once, for at most `vitsplice.backbones.hub.PROBE_SECONDS`.

    The checks after those of versions import torch and kornia. They are left out if a package is missing, or if the
    current folder was removed, because torch may then end the process.
    """
    diagnoses = [*_versions()]
    try:
        os.getcwd()
    except OSError:
        advice = "change to a folder that exists, and run the command again"
        return [*diagnoses, Diagnosis("folders", "outputs", "the current folder was removed", advice, fatal=True)]
    if any(diagnosis.fatal for diagnosis in diagnoses):
        return diagnoses
    return [*diagnoses, *_machine(), *_folders(), *_plugins(catalogue), *_weights(catalogue)]


def _versions() -> Iterator[Diagnosis]:
    for name, version in versions().items():
        missing = version == "not installed"
        advice = f"pip install {name}" if missing and name != "vitsplice" else ""
        yield Diagnosis("versions", name, version, advice, fatal=bool(advice))


def _machine() -> Iterator[Diagnosis]:
    import torch

    from vitsplice.engine.device import pick_device, pick_precision
    from vitsplice.engine.memory import free_bytes

    device = pick_device("auto")
    yield Diagnosis("machine", "system", f"{sys.platform}, {os.cpu_count()} cores")
    yield Diagnosis("machine", "device", f"{device}, precision auto is {pick_precision('auto', device)}")
    yield Diagnosis("machine", "threads", str(torch.get_num_threads()))
    memory = free_bytes(device)
    low = memory is not None and memory < LEAST_MEMORY
    advice = f"less than {LEAST_MEMORY / GIB:.0f} GiB: close other programs, or give a smaller size" if low else ""
    yield Diagnosis("machine", "free memory", "unknown" if memory is None else f"{memory / GIB:.1f} GiB", advice)


def _folders() -> Iterator[Diagnosis]:
    import torch
    from huggingface_hub import constants

    yield _folder("outputs", Path.cwd(), "choose another output folder")
    yield _cache()
    yield _folder("hub's cache", Path(constants.HF_HUB_CACHE), "set HF_HUB_CACHE to another folder")
    yield _folder("torch's cache", Path(torch.hub.get_dir()), "set TORCH_HOME to another folder")


def _cache() -> Diagnosis:
    from vitsplice.support.files import cache_folder

    try:
        folder = cache_folder()
    except UserError as error:
        return Diagnosis("folders", "cache", "unknown", str(error))
    advice = "vitsplice-offline converts its weights again for each run; set VITSPLICE_CACHE to another folder"
    return _folder("cache", folder, advice)


def _folder(name: str, path: Path, advice: str) -> Diagnosis:
    """Check that a folder, or its nearest existing parent, can be written to and has free space."""
    existing = next(folder for folder in (path, *path.parents) if os.path.exists(folder))
    free_bytes = shutil.disk_usage(existing).free
    value = f"{path} ({free_bytes / GIB:.1f} GiB free)"
    if not os.access(existing, os.W_OK | os.X_OK):
        return Diagnosis("folders", name, value, f"cannot be written to: {advice}")
    return Diagnosis("folders", name, value, f"the disk is full: {advice}" if free_bytes < LEAST_DISK else "")


def _plugins(catalogue: Catalogue) -> Iterator[Diagnosis]:
    for record in catalogue.plugins:
        specs = ", ".join(f"{len(names)} {kind}" for kind, names in record.specs.items() if names)
        value = " ".join(filter(None, [record.distribution, record.version, f"({specs})" if specs else ""]))
        advice = f"failed: {record.failure}; repair or uninstall it" if record.failure else "; ".join(record.notes)
        yield Diagnosis("plugins", record.name, value, advice)


def _weights(catalogue: Catalogue) -> Iterator[Diagnosis]:
    from vitsplice.backbones.hub import REACHABLE, probe_hub

    hub, state = probe_hub()
    yield Diagnosis("weights", "hub", f"{hub} {state}")
    for spec in catalogue.backbones.values():
        if location := spec.weights_location():
            yield Diagnosis("weights", spec.name, location)
    yield from _default_preset(catalogue, "" if state == REACHABLE else state)


def _default_preset(catalogue: Catalogue, no_hub: str) -> Iterator[Diagnosis]:
    """Check that every backbone of the default preset, or a fallback of it, is available.

    Args:
        catalogue: the plugins.
        no_hub: why the hub cannot be used, to follow the words "the hub"; "" if it is reachable.
    """
    from vitsplice.presets.settings import DEFAULT_PRESET, settings_for

    try:
        backbones = settings_for().backbones
    except VitspliceError as error:
        yield Diagnosis("weights", f"preset {DEFAULT_PRESET}", "cannot be used", str(error), fatal=True)
        return
    for key, config in backbones.items():
        setting = f"backbones.{key}" if len(backbones) > 1 else "backbone"
        yield _backbone(f"preset {DEFAULT_PRESET}, {setting}", config, catalogue, no_hub)


def _backbone(name: str, config: BackboneConfig, catalogue: Catalogue, no_hub: str) -> Diagnosis:
    """Check that a backbone or a fallback is available; load it if its weights are on this machine.

    Nothing is downloaded.

    Args:
        name: name of the diagnosis; its last word is the key of the backbone in the settings.
        config: settings of the backbone and its fallbacks.
        catalogue, no_hub: see `_default_preset`.
    """
    from vitsplice.engine.backbones import load_configured

    names = [config.name, *config.fallback]
    specs, conflict = [], None
    for candidate in names:
        try:
            specs.append(catalogue.backbones[candidate])
        except UnknownName:
            continue
        except PluginConflict as error:
            conflict = error
            break
    # weights_location() is "" if the weights are not on this machine, None if that is unknown
    usable = [spec for spec in specs if not no_hub or spec.weights_location() != ""]
    if conflict and not usable:
        return Diagnosis("weights", name, "cannot be loaded", str(conflict), fatal=True)
    if not usable:
        if not specs:
            return _unusable(name, f"no plugin provides {' or '.join(names)}")
        return _unusable(name, f"no weights of {' or '.join(names)} are on this machine, and the hub {no_hub}")
    local = [spec for spec in usable if spec.weights_location()]
    not_local = [spec for spec in usable if spec not in local]
    if usable[0] in not_local:
        return _not_loaded(name, usable[0])
    first, *fallback = (spec.name for spec in local)
    settings = config.model_copy(update={"name": first, "fallback": tuple(fallback)})
    try:
        backbone, _ = load_configured(settings, catalogue)
    except WeightsUnavailable as error:
        return _not_loaded(name, not_local[0]) if not_local else _unusable(name, str(error))
    except (PartRejected, WeightsRejected) as error:
        return _unusable(name, str(error))
    except VitspliceError as error:
        return Diagnosis("weights", name, "cannot be loaded", str(error), fatal=True)
    return Diagnosis("weights", name, f"{backbone.info.name} loads")


def _not_loaded(name: str, spec: BackboneSpec) -> Diagnosis:
    """Report a backbone that is not loaded, because that could download its weights."""
    if spec.weights_location() is None:
        return Diagnosis("weights", name, f"{spec.name}: it is not known whether its weights are on this machine")
    value = f"{spec.name}: its weights are not on this machine; a run downloads them if that is possible"
    return Diagnosis("weights", name, value)


def _unusable(name: str, reason: str) -> Diagnosis:
    setting = f"{name.rpartition(' ')[2]}.weights"
    advice = (
        "install the plugin vitsplice-offline, which needs no hub: pip install vitsplice-offline, or "
        f"-e plugins/vitsplice-offline in a checkout; or give a file in the setting {setting}"
    )
    return Diagnosis("weights", name, reason, advice, fatal=True)
