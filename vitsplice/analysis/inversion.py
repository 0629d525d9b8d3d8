"""Feature inversion: images optimised to have one feature of an image (Mahendran and Vedaldi 2015).

An inversion shows what a feature encodes: the inversion of [CLS] has the appearance without the layout, and the
inversion of keys has the layout (Tumanyan et al. 2022, section 3.1). Each inversion is a run with a term named `TERM`
that compares features; other terms of the run, if any, are regularisers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import Tensor

from vitsplice.config import RunConfig, TermConfig
from vitsplice.contracts import GLOBAL_FACETS, BackboneInfo, FeatureRequest, layer_file_label
from vitsplice.engine.backbones import BackboneCache, BackboneLoader, load_settings
from vitsplice.engine.values import Step, last_loss
from vitsplice.errors import Argument, UserError
from vitsplice.images import contact_sheet, encode_png, read
from vitsplice.plugins import catalogue
from vitsplice.presets.loading import validate
from vitsplice.presets.settings import settings_for
from vitsplice.runs.run import Run
from vitsplice.text import printable

Value = TypeVar("Value")

PRESETS = {"network": "invert", "pixels": "invert-pixels"}
"""Image prior -> its preset."""

TERM = "inversion"
"""Name, in the presets, of the term that compares features."""

FACET_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""Facet names that may be part of a folder name."""


@dataclass(frozen=True)
class InversionPlan:
    """Settings of the inversion of each feature of an image; they name the backbone in use, which may be a fallback.

    Args:
        image: path of the image.
        settings: settings by feature.
        layers: number of layers of the backbone.
        substitutions: a sentence for each backbone that a fallback replaces.

    Raises:
        UserError: if the name of a facet cannot be part of a folder name.
    """

    image: Path
    settings: Mapping[FeatureRequest, RunConfig]
    layers: int
    substitutions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for request in self.settings:
            if not FACET_NAME.fullmatch(request.facet):
                raise UserError(
                    f"facet '{printable(request.facet)}' cannot be inverted: a folder is named after it, so its name "
                    "must consist of 1 to 40 of the characters A-Z, a-z, 0-9, _ and -"
                )

    @property
    def run_folders(self) -> dict[FeatureRequest, str]:
        """Names of the folders of the inversions by feature; names of one facet sort by depth."""
        return {r: f"{r.facet}_{layer_file_label(r.layer, self.layers)}" for r in self.settings}


@dataclass(frozen=True, eq=False)
class Inversions:
    """Inverted features of one image; displayed in a notebook as a contact sheet.

    Args:
        image: the image, ``(1, 3, H, W)``.
        outputs: inversion of each feature, ``(3, h, w)``.
        losses: last unweighted value of the term `TERM` in each inversion.
        layers: number of layers of the backbone.
    """

    image: Tensor = field(repr=False)
    outputs: Mapping[FeatureRequest, Tensor] = field(repr=False)
    losses: Mapping[FeatureRequest, float]
    layers: int

    @property
    def sheet(self) -> Tensor:
        """Contact sheet with a row for each facet: the image, then the inversions of that facet; ``(3, H, W)``."""
        rows: dict[str, list[tuple[str, Tensor]]] = {}
        for request, output in self.outputs.items():
            caption = f"{request.label(self.layers)}: loss {self.losses[request]:.2g}"
            rows.setdefault(request.facet, [("image", self.image[0])]).append((caption, output))
        return contact_sheet(list(rows.values()))

    def _repr_png_(self) -> bytes:
        return encode_png(self.sheet)


def plan_inversions(
    image: str | os.PathLike[str],
    facets: Iterable[str] = (),
    layers: Iterable[int] = (),
    *,
    prior: Literal["network", "pixels"] | None = None,
    preset: str | os.PathLike[str] | RunConfig | None = None,
    backbone: str | None = None,
    overrides: Iterable[str] = (),
    backbones: BackboneLoader | None = None,
    **settings: Any,
) -> InversionPlan:
    """Determine the features, and the settings of their inversions. A fallback replaces an unavailable backbone.

    Args:
        image: path of the image.
        facets, layers: facets and layers to invert, in every combination; see `combined_requests`.
        prior: image prior, ``network`` or ``pixels``, which determines what the feature leaves open. If prior and
            preset are None: ``network`` for local facets, and ``pixels`` for global ones, for which ``network`` needs
            many more steps.
        preset: instead of a prior, a preset with a term named ``inversion``: name, path or settings.
        backbone: name; None: that of the preset.
        overrides: ``dotted.key=value`` of settings.
        backbones: see `vitsplice.Run`; None: a cache for this call.
        settings: further arguments of `vitsplice.presets.settings.settings_for`, such as steps, size, seed and device.

    Raises:
        UserError: if the prior is unknown, both prior and preset are given, a setting is invalid, the preset has no
            term ``inversion``, the backbone has no such feature, or facets, layers or overrides are not lists.
        WeightsUnavailable: if neither the weights of the backbone nor those of a fallback are available.
    """
    if preset is not None and prior is not None:
        choice = f"a prior selects the preset {' or '.join(PRESETS.values())}"
        raise UserError("give ", Argument("prior"), " or ", Argument("preset"), f", not both: {choice}")
    if prior is not None and prior not in PRESETS:
        raise UserError(f"unknown image prior '{prior}'; choose {' or '.join(PRESETS)}")
    chosen_preset = PRESETS[prior] if prior else preset
    overrides = _listed("overrides", overrides, "terms.inversion.weight=2")
    loader = BackboneCache() if backbones is None else backbones
    configured = settings_for(
        chosen_preset or PRESETS["network"],  # all `PRESETS` have the same backbone
        backbone=backbone,
        overrides=list(filter(_affects_backbone, overrides)),
        device=settings.get("device"),
        precision=settings.get("precision"),
    )
    loaded = load_settings(configured, loader, catalogue())
    info = loaded.backbones[loaded.settings.backbone_key_of(_inversion_term(loaded.settings))].info
    settings_by_request = {
        request: _without_fallbacks(
            inversion_settings(request, chosen_preset, backbone=backbone, overrides=overrides, **settings), loader
        )
        for request in combined_requests(info, facets, layers)
    }
    return InversionPlan(Path(image), settings_by_request, info.layers, tuple(map(str, loaded.substitutions.values())))


def _affects_backbone(override: object) -> bool:
    """Return whether an override affects which backbone the term `TERM` uses, on which device, in which precision.

    True for an override that is not a text, so that `settings_for` refuses it.
    """
    if not isinstance(override, str):
        return True
    parts = override.partition("=")[0].split(".")
    key = ".".join(part.strip() for part in parts).removeprefix("with_fallback.")
    mappings = ("with_fallback", "terms", f"terms.{TERM}")
    return key in (*mappings, f"terms.{TERM}.backbone") or key.startswith(("backbone", "device", "precision"))


def _inversion_term(settings: RunConfig) -> TermConfig:
    """Return the term that compares features. Raises UserError if there is none."""
    if TERM not in settings.terms:
        presets = [*PRESETS.values(), "invert-official"]
        raise UserError(f"this preset has no term '{TERM}'; presets that have one: {', '.join(presets)}")
    return settings.terms[TERM]


def _without_fallbacks(settings: RunConfig, loader: BackboneLoader) -> RunConfig:
    """Replace backbones by those in use, and remove fallbacks, so that a resumed run uses the same backbones."""
    in_use = load_settings(settings, loader, catalogue()).settings
    return in_use.model_copy(update={"device": settings.device, "precision": settings.precision})


def combined_requests(
    info: BackboneInfo, facets: Iterable[str] = (), layers: Iterable[int] = ()
) -> list[FeatureRequest]:
    """Combine the facets with the layers.

    Without layers, facets are taken from the last layer. Without facets, the layers are combined with the backbone's
    facets for appearance and structure. Without both, the backbone's default requests for appearance and structure
    are returned.

    Raises:
        UserError: if the backbone has no such facet or layer, or facets or layers are not lists.
    """
    facets, layers = _listed("facets", facets, "cls"), _listed("layers", layers, -1)
    if not facets and not layers:
        return [info.appearance, info.structure]
    facets = facets or [info.appearance.facet, info.structure.facet]
    return list(dict.fromkeys(info.request(facet, layer) for facet in facets for layer in layers or [-1]))


def _listed(name: str, values: Iterable[Value], example: Value) -> list[Value]:
    """Return values as a list. Raises UserError for a mapping, or a single text or number."""
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise UserError(f"{name} must be a list, such as {name}={[example]!r}; it is {values!r}")
    return list(values)


def inversion_settings(
    request: FeatureRequest,
    preset: str | os.PathLike[str] | RunConfig | None = None,
    overrides: Sequence[str] = (),
    **settings: Any,
) -> RunConfig:
    """Return the settings of one inversion: those of a preset, with the facet and layer of the feature.

    As in the released code, the generator named ``prior`` (deep image prior) gets no added noise for a local facet,
    unless an override sets the noise.

    Args:
        request: the feature.
        preset: preset with a term named ``inversion``; None: the default for the facet (see `plan_inversions`).
        overrides: ``dotted.key=value`` of settings.
        settings: further arguments of `vitsplice.presets.settings.settings_for`.

    Raises:
        UserError: if the preset has no term ``inversion``, or a setting is invalid.
    """
    if preset is None:
        preset = PRESETS["pixels" if request.facet in GLOBAL_FACETS else "network"]
    config = settings_for(preset, overrides=overrides, **settings)
    _inversion_term(config)
    data = config.model_dump(mode="json")
    data["terms"][TERM] |= {"facet": request.facet, "layer": request.layer}
    sets_noise = any(override.strip().startswith("generator") and "noise" in override for override in overrides)
    if config.generator.name == "prior" and request.facet not in GLOBAL_FACETS and not sets_noise:
        data["generator"]["options"] |= {"noise": [0.0]}
    return validate(data, "settings")


def invert(plan: InversionPlan, on_step: Callable[[FeatureRequest, Step], object] | None = None) -> Inversions:
    """Invert features one after the other, in memory; ``on_step`` gets the feature and each step that was taken."""
    outputs, losses = {}, {}
    for request, run in inversion_runs(plan):
        for step in run.steps():
            if on_step:
                on_step(request, step)
        outputs[request], losses[request] = run.pixels(), last_loss(run.history, TERM)
        del run  # its memory is free before the next run is built
    return Inversions(read(plan.image).pixels, outputs, losses, plan.layers)


def inversion_runs(
    plan: InversionPlan, backbones: BackboneLoader | None = None
) -> Iterator[tuple[FeatureRequest, Run]]:
    """Yield each feature with the run that inverts it; the caller takes the steps of the run.

    The steps are taken by `vitsplice.Run.steps`; `vitsplice.Run.pixels` returns the image between any two of them.

    Args:
        plan: features and settings of their inversions.
        backbones: see `vitsplice.Run`; None: a cache of one backbone, which the inversions share.
    """
    image, backbones = read(plan.image), backbones or BackboneCache(1)
    for request, settings in plan.settings.items():
        yield request, Run(image, image, settings, backbones=backbones)
