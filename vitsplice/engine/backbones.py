"""Load backbones, or their fallbacks, by name or as settings request them.

`BackboneLoader` has no cache, `BackboneCache` has one, and `FixedBackbone` returns a given backbone.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from vitsplice.backbones.weights import sha256_of
from vitsplice.config import BackboneConfig, RunConfig
from vitsplice.contracts import Backbone, BackboneInfo, MetricContext
from vitsplice.engine.device import pick_device, pick_precision
from vitsplice.errors import Argument, MessagePart, Setting, UnknownName, UserError, WeightsRejected, WeightsUnavailable
from vitsplice.numerics import numerics
from vitsplice.plugins import Catalogue, catalogue
from vitsplice.plugins.build import build_part
from vitsplice.presets import loading
from vitsplice.presets.settings import pinned, settings_for
from vitsplice.text import printable

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Substitution:
    """A fallback that is used because the requested backbone is unavailable.

    Args:
        requested: name of the requested backbone.
        used: name of the fallback.
        reason: why the requested one is unavailable.
    """

    requested: str
    used: str
    reason: str

    def __str__(self) -> str:
        return f"backbone '{self.requested}' is unavailable, so '{self.used}' is used instead. {self.reason}"


@numerics()
def load_backbone(name: str, weights: str | os.PathLike[str] | None = None) -> Backbone:
    """Load a backbone by name, in float32 on the CPU.

    Args:
        name: see `vitsplice list backbones`.
        weights: path of a weights file; None: the default weights of the backbone.

    Raises:
        UnknownName: if no backbone of that name is registered.
        WeightsUnavailable: if the weights are not on this machine and cannot be downloaded.
        WeightsRejected: if the weights file is missing or corrupt, or does not fit.
        PartRejected: if its plugin fails.
    """
    return build_part(catalogue().backbones[name], None if weights is None else Path(weights))


@numerics()
def load_configured(config: BackboneConfig, catalogue: Catalogue) -> tuple[Backbone, Substitution | None]:
    """Load the backbone of the settings, in float32 on the CPU, or the first available fallback.

    Returns:
        The backbone, and the substitution if the backbone is a fallback, otherwise None. Settings with a weights file
        use no fallback.

    Raises:
        UnknownName: if no backbone of that name is registered and no fallback is allowed.
        WeightsUnavailable: if neither the backbone nor a fallback is available.
        WeightsRejected: if the weights file is missing or does not fit, or a SHA-256 is not that in the settings.
    """
    _check_file(config)
    try:
        backbone = build_part(catalogue.backbones[config.name], config.weights)
        _check_network(config, backbone.info)
        return backbone, None
    except (UnknownName, WeightsUnavailable) as error:
        if not config.fallback or config.weights is not None:
            raise
        unavailable = error
    reasons: list[str] = []
    for name in config.fallback:
        try:
            backbone = build_part(catalogue.backbones[name], None)
            return backbone, Substitution(config.name, name, str(unavailable).splitlines()[0])
        except (UnknownName, WeightsUnavailable, WeightsRejected) as error:
            reason = str(error).splitlines()[0]  # without advice, which may be to use a fallback
            reasons.append(f"\nIts fallback '{name}' is unavailable too: {reason}")
    raise WeightsUnavailable(*unavailable.parts, *reasons) from unavailable


@numerics()
def backbone_or_default(backbone: str | Backbone | None, device: torch.device) -> tuple[Backbone, Substitution | None]:
    """Return a backbone in float32 on a device, and the substitution if it is a fallback, otherwise None.

    Args:
        backbone: name of a backbone; a loaded backbone, which is moved and cast; None: the backbone of the default
            preset, or its fallback.
        device: the device.

    Raises:
        UserError: if a loaded backbone was cast to a dtype of less than 32 bits.
        UnknownName, WeightsUnavailable, WeightsRejected: see `load_configured`.
    """
    if backbone is None or isinstance(backbone, str):
        return BackboneLoader().named(backbone, str(device))
    _check_not_rounded(backbone)
    return backbone.to(device, torch.float32), None


def _check_not_rounded(backbone: Backbone) -> None:
    """Raise UserError if a loaded backbone was cast to a dtype of less than 32 bits; its SHA-256 no longer applies."""
    parameters = backbone.parameters() if isinstance(backbone, nn.Module) else ()
    dtypes = {parameter.dtype for parameter in parameters if parameter.is_floating_point()}
    if rounded_dtypes := [dtype for dtype in dtypes if torch.finfo(dtype).bits < 32]:
        raise UserError(
            f"the loaded backbone '{backbone.info.name}' was cast to {rounded_dtypes[0]} and lost precision; "
            "load it again"
        )


Loaded = tuple[Backbone, Substitution | None]
"""A loaded backbone, and the substitution if it is a fallback, otherwise None."""


def load_all(
    settings: RunConfig, load: Callable[[BackboneConfig], Loaded]
) -> tuple[RunConfig, dict[str, Backbone], dict[str, Substitution]]:
    """Load the backbones of settings; if a fallback is used, also the backbones that the key ``with_fallback`` adds.

    Args:
        settings: settings of a run.
        load: loads a backbone, or its fallback.

    Returns:
        The settings, merged with ``with_fallback`` if a fallback is used, and then pinned; backbones and substitutions
        by key.
    """
    first = next(iter(settings.backbones))

    def load_by_key(key: str, config: BackboneConfig) -> Loaded:
        try:
            return load(config)
        except (WeightsUnavailable, WeightsRejected) as error:
            if key == first:
                raise
            raise type(error)(*(_advice_for(key, part) for part in error.parts)) from error

    loaded = {key: load_by_key(key, config) for key, config in settings.backbones.items()}
    if any(substitution for _, substitution in loaded.values()):
        settings = pinned(loading.with_fallback(settings, "settings"))
        added = {key: config for key, config in settings.backbones.items() if key not in loaded}
        loaded |= {key: load_by_key(key, config) for key, config in added.items()}
    substitutions = {key: substitution for key, (_, substitution) in loaded.items() if substitution}
    return settings, {key: backbone for key, (backbone, _) in loaded.items()}, substitutions


def _advice_for(key: str, part: MessagePart) -> MessagePart:
    """Return a part of a message with the settings of the backbone ``key`` instead of those of the first backbone."""
    if isinstance(part, Setting) and part.key == "backbone.weights":
        return Setting(f"backbones.{key}.weights", part.value)
    if isinstance(part, Argument) and part.name == "backbone" and part.value is not None:
        return Setting(f"backbones.{key}.name", part.value)
    return part


class BackboneLoader:
    """Loads a backbone on every call, without a cache."""

    @numerics()
    def load(self, config: BackboneConfig, known: Catalogue, device: torch.device, precision: str) -> Loaded:
        """Load a backbone, or its fallback, onto a device; raises the errors of `load_configured`."""
        backbone, substitution = load_configured(config, known)
        return backbone.to(device, DTYPES[precision]), substitution

    def named(self, name: str | None, device: str = "auto") -> Loaded:
        """Load a backbone by name, in float32, onto a device.

        Args:
            name: name of a backbone, which has no fallback; None: the backbone of the default preset, or its fallback.
            device: see `vitsplice.engine.device.pick_device`.

        Raises:
            UserError: if the device is unavailable.
            UnknownName, WeightsUnavailable, WeightsRejected: see `load_configured`.
        """
        return self.load(settings_for(backbone=name).backbone, catalogue(), pick_device(device), "float32")

    @numerics()
    def metric_backbone(self, name: str, known: Catalogue) -> Backbone:
        """Load the backbone of a metric, in float32 on the CPU."""
        return build_part(known.backbones[name], None)

    def metric_context(self, backbone: str, known: Catalogue) -> MetricContext:
        """Return the arguments for building metrics, whose ``load`` loads each backbone once."""
        return MetricContext(cache(partial(self.metric_backbone, known=known)), backbone)


class FixedBackbone(BackboneLoader):
    """Returns a loaded backbone where settings have its name and SHA-256; others are loaded on every call.

    In float32, the backbone itself is cast and moved to the device of the run; another precision uses a copy.

    Args:
        backbone: loaded backbone, in float32 or float64.

    Raises:
        UserError: if the backbone was cast to a dtype of less than 32 bits.
    """

    def __init__(self, backbone: Backbone) -> None:
        _check_not_rounded(backbone)
        self._backbone = backbone

    @numerics()
    def load(self, config: BackboneConfig, known: Catalogue, device: torch.device, precision: str) -> Loaded:
        """Return the fixed backbone on a device, or load any other; raises the errors of `load_configured`."""
        info = self._backbone.info
        if (config.name, config.network_sha256) != (info.name, info.sha256 or None):
            return super().load(config, known, device, precision)
        dtype = DTYPES[precision]
        backbone = self._backbone if dtype == torch.float32 else deepcopy(self._backbone)
        return backbone.to(device, dtype), None


class BackboneCache(BackboneLoader):
    """Caches the most recently used backbones, for many runs in one process; thread-safe.

    Args:
        size: maximum number of cached backbones, at least 1; each takes the memory of its weights. All backbones of
            metrics are cached in addition.
    """

    def __init__(self, size: int = 4) -> None:
        if size < 1:
            raise UserError(f"size={size} is not allowed; it must be at least 1")
        self._size = size
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[BackboneConfig, str, str], Loaded] = OrderedDict()
        self._metric_backbones: dict[str, Backbone] = {}

    def load(self, config: BackboneConfig, known: Catalogue, device: torch.device, precision: str) -> Loaded:
        """Return the cached backbone, or load it as `BackboneLoader.load` does; a fallback is cached, too."""
        key = (config.model_copy(update={"side": None, "precision": None}), str(device), precision)
        with self._lock:
            if key not in self._cache:
                while len(self._cache) >= self._size:
                    self._cache.popitem(last=False)
                self._cache[key] = super().load(config, known, device, precision)
            self._cache.move_to_end(key)
            return self._cache[key]

    def metric_backbone(self, name: str, known: Catalogue) -> Backbone:
        """Return the backbone of a metric; each is loaded once."""
        with self._lock:
            if name not in self._metric_backbones:
                self._metric_backbones[name] = super().metric_backbone(name, known)
            return self._metric_backbones[name]


@dataclass(frozen=True)
class LoadedSettings:
    """Settings with their backbones, on one device.

    Args:
        settings: settings with the device, precision and backbones in use, so that repeated work gives the same bytes.
        device: the device.
        backbones: backbones by their keys in the settings.
        substitutions: fallbacks that are used, by the keys of the backbones that they replace.
    """

    settings: RunConfig
    device: torch.device
    backbones: dict[str, Backbone]
    substitutions: dict[str, Substitution]


def load_settings(settings: RunConfig, loader: BackboneLoader, known: Catalogue) -> LoadedSettings:
    """Load the backbones of settings, each in its precision; raises as `load_configured` and `pick_device`."""
    device = pick_device(settings.device)
    precision = pick_precision(settings.precision, device)

    def load(config: BackboneConfig) -> Loaded:
        return loader.load(config, known, device, pick_precision(config.precision or precision, device))

    settings, backbones, substitutions = load_all(settings, load)
    in_use = {name: _in_use(config, substitutions.get(name), device) for name, config in settings.backbones.items()}
    update = {"backbones": in_use, "device": str(device), "precision": precision, "with_fallback": {}}
    return LoadedSettings(settings.model_copy(update=update), device, backbones, substitutions)


def _in_use(config: BackboneConfig, substitution: Substitution | None, device: torch.device) -> BackboneConfig:
    """Return the settings of the backbone that is used: without fallbacks, ``auto`` precision resolved."""
    precision = config.precision and pick_precision(config.precision, device)
    if substitution is None:
        return config.model_copy(update={"fallback": (), "precision": precision})
    return BackboneConfig(name=substitution.used, side=config.side, precision=precision)


def _check_file(config: BackboneConfig) -> None:
    """Raise WeightsRejected unless the weights file has the SHA-256 in the settings, if both are set."""
    if config.weights is None or not config.sha256:
        return
    if (digest := sha256_of(config.weights)) != config.sha256:
        raise WeightsRejected(
            f"weights file '{printable(str(config.weights))}' is not the one that these settings were made with:\n"
            f"its SHA-256 is {digest},\nexpected is   {config.sha256}.\n"
            "Restore the expected file, or use another with ",
            Setting("backbone.weights", "FILE"),
        )


def _check_network(config: BackboneConfig, info: BackboneInfo) -> None:
    """Raise WeightsRejected if the SHA-256 of the loaded weights is not that in the settings."""
    if config.network_sha256 and info.sha256 != config.network_sha256:
        raise WeightsRejected(
            f"these settings were made with a backbone '{config.name}' whose weights differ from those of the "
            f"registered one:\nSHA-256 in the settings: {config.network_sha256}\n"
            f"registered SHA-256:      {info.sha256 or 'none'}\n"
            "Load the backbone with the first SHA-256, and pass it as ",
            Argument("backbone"),
        )
