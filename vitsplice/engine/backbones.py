"""Backbones of a run: loaded by name, or replaced by a fallback whose weights are available."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from vitsplice.backbones.weights import sha256_of
from vitsplice.config import BackboneConfig
from vitsplice.contracts import Backbone, BackboneInfo
from vitsplice.errors import Argument, Part, Setting, UnknownName, WeightsRejected, WeightsUnavailable
from vitsplice.numerics import numerics
from vitsplice.plugins import Catalogue, catalogue
from vitsplice.presets.settings import settings_for
from vitsplice.text import printable

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Substitution:
    """A backbone that stands in for the one a preset names."""

    wanted: str
    used: str
    why: str

    def __str__(self) -> str:
        return f"backbone '{self.wanted}' is unavailable, so '{self.used}' is used instead. {self.why}"


@numerics()
def load_backbone(name: str, weights: str | os.PathLike[str] | None = None) -> Backbone:
    """Load a backbone by name, in float32 on the CPU.

    Raises:
        UnknownName, WeightsUnavailable, WeightsRejected: see `vitsplice.errors`.
    """
    return catalogue().backbone(name).build(None if weights is None else Path(weights))


def _check_file(config: BackboneConfig) -> None:
    """Raise WeightsRejected unless the weights file that is named is there and is the one that is meant."""
    if config.weights is None or not config.sha256:
        return
    if (found := sha256_of(config.weights)) != config.sha256:
        raise WeightsRejected(
            f"weights file '{printable(str(config.weights))}' is not the one that these settings were made with:\n"
            f"its SHA-256 is {found},\nwanted is    {config.sha256}.\nPut that file back, or give another with ",
            Setting("backbone.weights", "FILE"),
        )


def _check_network(config: BackboneConfig, info: BackboneInfo) -> None:
    """Raise WeightsRejected if the settings are of a loaded backbone with other weights."""
    if config.network_sha256 and info.sha256 != config.network_sha256:
        raise WeightsRejected(
            f"these settings are of a backbone '{config.name}' that was loaded and given, with other weights than the "
            f"one of that name here:\nSHA-256 {config.network_sha256}, here {info.sha256 or 'none'}.\n"
            "Load that one, and give it again as ",
            Argument("backbone"),
        )


@numerics()
def load_configured(config: BackboneConfig, catalogue: Catalogue) -> tuple[Backbone, Substitution | None]:
    """Load a backbone, or the first of its fallbacks whose weights can be had; nothing stands in for a named file.

    Raises:
        UnknownName: if no such backbone is registered.
        WeightsUnavailable: if neither its weights nor those of a fallback can be had.
        WeightsRejected: if the weights file that is named is gone, another one than is meant, or not one for it.
    """
    _check_file(config)
    try:
        backbone = catalogue.backbone(config.name).build(config.weights)
        _check_network(config, backbone.info)
        return backbone, None
    except (UnknownName, WeightsUnavailable) as error:
        if not config.fallback or config.weights is not None:
            raise
        missing = error
    why: list[Part] = []
    for name in config.fallback:
        try:
            return catalogue.backbone(name).build(None), Substitution(config.name, name, str(missing).splitlines()[0])
        except (UnknownName, WeightsUnavailable, WeightsRejected) as error:
            why += [f"\nIts fallback '{name}' is unavailable too: ", *error.parts]
    raise WeightsUnavailable(*missing.parts, *why) from missing


def backbone_or_default(name: str | None) -> tuple[Backbone, Substitution | None]:
    """The backbone of that name; for None that of the default preset, or what stands in for it. Float32, on the CPU.

    Raises:
        UnknownName, WeightsUnavailable, WeightsRejected: see `vitsplice.errors`.
    """
    return load_configured(settings_for(backbone=name).backbone, catalogue())
