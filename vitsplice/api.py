"""The story on one screen: two pictures and a preset in, one picture out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from vitsplice import config as configs
from vitsplice.config import BackboneConfig, RunConfig
from vitsplice.contracts import Backbone
from vitsplice.engine.device import pick_device, pick_precision
from vitsplice.engine.loop import Optimisation, Step
from vitsplice.engine.problem import Substitution, assemble
from vitsplice.engine.problem import load_backbone as load_with_fallback
from vitsplice.facts import describe
from vitsplice.images import Picture, read, resize_to
from vitsplice.plugins import Catalogue, catalogue
from vitsplice.result import Result


def splice(
    structure: Any,
    appearance: Any,
    preset: str | os.PathLike[str] | RunConfig = "paper",
    *,
    on_step: Callable[[Step], object] | None = None,
    **settings: Any,
) -> Result:
    """Give the structure image the look of the appearance image.

    Args:
        structure, appearance: each a path, a PIL image, an array ``(H, W, 3)`` or a tensor ``(3, H, W)``.
        preset: the name of a preset, a YAML file, or settings.
        on_step: called after each step; returning ``False`` ends the run early.
        settings: see `settings_for`: ``backbone``, ``steps``, ``size``, ``seed``, ``device``, ``precision``,
            ``overrides``.

    Raises:
        VitspliceError: saying what was given, what is allowed and what to do next.
    """
    run = Run(structure, appearance, settings_for(preset, **settings))
    for step in run.steps():
        if on_step is not None and on_step(step) is False:
            break
    return run.result()


def settings_for(
    preset: str | os.PathLike[str] | RunConfig = "paper",
    *,
    backbone: str | None = None,
    steps: int | None = None,
    size: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    overrides: Iterable[str] = (),
) -> RunConfig:
    """The settings of a preset, with some of them replaced. A backbone that is named here never falls back.

    Args:
        preset: the name of a preset, a YAML file, or settings.
        backbone: name of a backbone.
        steps: how many.
        size: shorter side in pixels that both pictures are brought to first.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: of the backbone: ``auto``, ``float32`` or ``bfloat16``.
        overrides: ``dotted.key=value``, as on the command line.
    """
    overrides = list(overrides)
    text, source = _preset_text(preset)
    settings = configs.load(text, source, overrides)
    named = backbone or (settings.backbone.name if _names_backbone(overrides) else None)
    changes: dict[str, Any] = {
        "steps": steps,
        "size": size,
        "seed": seed,
        "device": device,
        "precision": precision,
    }
    if named is not None:
        weights = settings.backbone.weights
        changes["backbone"] = {"name": named, "weights": weights, "fallback": ()}
    changed = {key: value for key, value in changes.items() if value is not None}
    return configs.validate(settings.model_dump() | changed, source)


def _names_backbone(overrides: list[str]) -> bool:
    return any(override.partition("=")[0].strip() in {"backbone", "backbone.name"} for override in overrides)


def _preset_text(preset: str | os.PathLike[str] | RunConfig) -> tuple[str, str]:
    """The YAML of a preset, and what to call it in messages."""
    if isinstance(preset, RunConfig):
        return preset.to_yaml(), "settings"
    path = Path(preset)
    if isinstance(preset, str) and path.suffix not in {".yaml", ".yml"} and not path.is_file():
        return catalogue().preset(preset).path.read_text(encoding="utf-8"), f"preset '{preset}'"
    return configs.read_text(path), f"preset {path}"


def load_backbone(name: str, weights: str | os.PathLike[str] | None = None) -> Backbone:
    """Load a backbone by name, in float32 on the CPU.

    Raises:
        UnknownName, WeightsUnavailable, WeightsRejected: see `vitsplice.errors`.
    """
    return catalogue().backbone(name).build(None if weights is None else Path(weights))


class Run:
    """A run that is taken step by step.

    Making one reads the pictures and loads the backbone; nothing is written anywhere.
    """

    def __init__(self, structure: Any, appearance: Any, settings: RunConfig) -> None:
        began = perf_counter()
        known: Catalogue = catalogue()
        device = pick_device(settings.device)
        pictures = {"structure": read(structure), "appearance": read(appearance)}
        backbone, substitution = load_with_fallback(settings.backbone, known)
        self.pictures: dict[str, Picture] = pictures
        self.substitution: Substitution | None = substitution
        self.settings = _resolved(settings, substitution, str(device), pick_precision(settings.precision, device))
        structure_image, appearance_image = (
            resize_to(p.pixels, settings.size) if settings.size else p.pixels for p in pictures.values()
        )
        problem = assemble(self.settings, structure_image, appearance_image, backbone, known, device)
        self.backbone = problem.backbone
        self._optimisation = Optimisation(problem)
        self.history: list[Step] = []

        self.seconds = {"load": perf_counter() - began, "steps": 0.0}

    def steps(self) -> Iterator[Step]:
        """Take the steps. Raises NonFiniteLoss; `result` then has the last good picture."""
        began = perf_counter()
        for step in self._optimisation.steps():
            self.history.append(step)
            self.seconds["steps"] = perf_counter() - began
            yield step

    def pixels(self) -> Tensor:
        """The output image as it is now, float32 ``(3, H, W)`` on the CPU."""
        return self._optimisation.picture()[0].float().cpu()

    def result(self) -> Result:
        """The picture as it is now, with everything known about it."""
        return Result(
            pixels=self.pixels(),
            losses=tuple(self.history),
            settings=self.settings,
            facts=describe(self),
            finished=len(self.history) == self.settings.steps,
        )


def _resolved(settings: RunConfig, substitution: Substitution | None, device: str, precision: str) -> RunConfig:
    """The settings with nothing left open, so that they give the same bytes again."""
    backbone = settings.backbone
    if substitution is not None:
        backbone = BackboneConfig(name=substitution.used)
    backbone = backbone.model_copy(update={"fallback": ()})
    return settings.model_copy(update={"backbone": backbone, "device": device, "precision": precision})
