"""The story on one screen: two images and a preset in, one image out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from inspect import signature
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from vitsplice.config import BackboneConfig, RunConfig
from vitsplice.contracts import Backbone, BackboneInfo, ImageName
from vitsplice.engine import memory, problem
from vitsplice.engine.device import pick_device, pick_precision
from vitsplice.engine.loop import Step
from vitsplice.engine.masks import masked, read_masks
from vitsplice.engine.problem import Substitution
from vitsplice.engine.stages import Snapshot, Staged
from vitsplice.engine.targets import RunImages
from vitsplice.errors import Argument, UserError, check_keywords, reason
from vitsplice.images import LoadedImage, read, resize_to
from vitsplice.metrics.output import NEED_A_CNN, Figure, metrics, with_scale, without_value
from vitsplice.numerics import numerics
from vitsplice.plugins import Catalogue, catalogue
from vitsplice.plugins.wording import a
from vitsplice.presets import loading as settings_yaml
from vitsplice.runs.backbone_cache import LoadedBackbone, Networks
from vitsplice.runs.metadata import describe
from vitsplice.runs.result import Result

DEFAULT_PRESET = "quick"


def splice(
    structure: Any,
    appearance: Any,
    preset: str | os.PathLike[str] | RunConfig = DEFAULT_PRESET,
    *,
    on_step: Callable[[Step], object] | None = None,
    structure_mask: Any = None,
    appearance_mask: Any = None,
    **settings: Any,
) -> Result:
    """Give the structure image the look of the appearance image.

    Args:
        structure, appearance: each a path, a PIL image, an array ``(H, W, 3)`` or a tensor ``(3, H, W)``.
        preset: the name of a preset, a YAML file, or settings.
        on_step: called after each step; returning ``False`` ends the run early.
        structure_mask: where the output may differ from the structure image: white everywhere, black nowhere, grey in
            part. An image of any kind that `structure` may be, as large as the structure image. The alpha channel of a
            cut-out is used as the mask.
        appearance_mask: which parts of the appearance image are used, likewise; a patch that is at least half white
            counts in full.
        settings: see `settings_for`: ``backbone``, ``steps``, ``size``, ``seed``, ``device``, ``precision``,
            ``structure_strength``, ``appearance_strength``, ``overrides``. A loaded ``backbone`` is used as it is,
            which saves loading it for each of many images.

    Raises:
        UnknownKeyword: for a keyword that it does not take.
        VitspliceError: saying what was given, what is allowed and what to do next.
    """
    check_keywords("splice", settings, ("preset", *_keywords(splice), *_keywords(settings_for)))
    backbone = settings.get("backbone")
    run = Run(
        structure,
        appearance,
        settings_for(preset, **settings),
        structure_mask=structure_mask,
        appearance_mask=appearance_mask,
        networks=None if backbone is None or isinstance(backbone, str) else LoadedBackbone(backbone),
    )
    for step in run.steps():
        if on_step is not None and on_step(step) is False:
            break
    return run.result()


def _keywords(function: Callable[..., object]) -> Iterator[str]:
    """The names of the arguments that a function takes by keyword only."""
    parameters = signature(function).parameters.values()
    return (parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


def settings_for(
    preset: str | os.PathLike[str] | RunConfig = DEFAULT_PRESET,
    *,
    backbone: str | Backbone | None = None,
    steps: int | None = None,
    size: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    structure_strength: float | None = None,
    appearance_strength: float | None = None,
    overrides: Iterable[str] = (),
) -> RunConfig:
    """The settings of a preset, with some of them replaced. A backbone that is named here never falls back.

    A weights file that they name gets its SHA-256 put beside it, so that the same settings mean the same file.

    Args:
        preset: the name of a preset, a YAML file, or settings.
        backbone: name of a backbone; of a loaded one the name and the SHA-256 of its weights are taken. The settings
            load it again only if a plugin gives that name with those weights.
        steps: number of steps.
        size: shorter side in pixels that both images are resized to first.
        seed: seed of all random number generators.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: of the backbone: ``auto``, ``float32`` or ``bfloat16``.
        structure_strength, appearance_strength: factors of the weights of the terms, at least 0; 1 keeps those of the
            preset.
        overrides: ``dotted.key=value``, as on the command line.

    Raises:
        ConfigError: naming the key, what was given and what is allowed.
        WeightsRejected: if a weights file is named and cannot be read.
    """
    overrides = list(overrides)
    text, source, folder = _preset_text(preset)
    settings = settings_yaml.load(text, source, overrides, folder)
    loaded = backbone is not None and not isinstance(backbone, str)
    if loaded and any(override.strip().startswith("backbone") for override in overrides):
        raise UserError("a loaded backbone is used as it is; leave out the overrides that begin with backbone")
    named = name_of(backbone) or (settings.backbone.name if _names_backbone(overrides) else None)
    changes: dict[str, Any] = {
        "preset": settings.preset or (None if isinstance(preset, RunConfig) else os.fspath(preset)),
        "steps": steps,
        "size": size,
        "seed": seed,
        "device": device,
        "precision": precision,
        "structure_strength": structure_strength,
        "appearance_strength": appearance_strength,
    }
    if backbone is not None and not isinstance(backbone, str):
        changes["backbone"] = {"name": named, "network_sha256": backbone.info.sha256 or None}
    elif named is not None:
        changes["backbone"] = {"name": named, **settings.backbone.model_dump(include={"weights", "sha256"})}
    changed = {key: value for key, value in changes.items() if value is not None}
    return problem.pinned(settings_yaml.validate(settings.model_dump() | changed, source, [(key,) for key in changed]))


def name_of(backbone: str | Backbone | None) -> str | None:
    """The name of a backbone that is named or loaded. Raises UserError if it is neither."""
    if backbone is None or isinstance(backbone, str):
        return backbone
    if not isinstance(getattr(backbone, "info", None), BackboneInfo) or not callable(backbone):
        raise UserError(
            Argument("backbone"),
            f" is the name of a backbone, or one that vitsplice.load_backbone gave, not {a(backbone)}",
        )
    return backbone.info.name


def _names_backbone(overrides: list[str]) -> bool:
    return any(override.partition("=")[0].strip() in {"backbone", "backbone.name"} for override in overrides)


def _preset_text(preset: str | os.PathLike[str] | RunConfig) -> tuple[str, str, Path | None]:
    """The YAML of a preset, what to call it in messages, and the folder that it lies in."""
    if isinstance(preset, RunConfig):
        return preset.to_yaml(), "settings", None
    if not isinstance(preset, str | os.PathLike):
        raise UserError(Argument("preset"), f" is the name of a preset, a YAML file, or settings, not {a(preset)}")
    path = Path(preset)
    if isinstance(preset, str) and path.suffix not in {".yaml", ".yml"} and not os.path.isfile(path):
        return catalogue().preset(preset).path.read_text(encoding="utf-8"), f"preset '{preset}'", None
    return settings_yaml.read_text(path), f"preset {path}", path.parent


@numerics()
def load_backbone(name: str, weights: str | os.PathLike[str] | None = None) -> Backbone:
    """Load a backbone by name, in float32 on the CPU.

    Raises:
        UnknownName, WeightsUnavailable, WeightsRejected: see `vitsplice.errors`.
    """
    return catalogue().backbone(name).build(None if weights is None else Path(weights))


def backbone_or_default(name: str | None) -> tuple[Backbone, Substitution | None]:
    """The backbone of that name; for None that of the default preset, or what stands in for it. Float32, on the CPU.

    Raises:
        UnknownName, WeightsUnavailable, WeightsRejected: see `vitsplice.errors`.
    """
    return problem.load_backbone(settings_for(backbone=name).backbone, catalogue())


class Run:
    """A run that is taken step by step.

    Making one reads the images and loads the backbone; nothing is written anywhere.

    Args:
        structure, appearance, structure_mask, appearance_mask: as `splice` takes them.
        settings: of the run.
        networks: where it takes its backbone from; None loads it.
    """

    @numerics()
    def __init__(
        self,
        structure: Any,
        appearance: Any,
        settings: RunConfig,
        *,
        structure_mask: Any = None,
        appearance_mask: Any = None,
        networks: Networks | None = None,
    ) -> None:
        began = perf_counter()
        known: Catalogue = catalogue()
        settings = problem.pinned(settings)
        problem.check_parts(settings, known)
        device = pick_device(settings.device)
        precision = pick_precision(settings.precision, device)
        images: dict[ImageName, LoadedImage] = {"structure": read(structure), "appearance": read(appearance)}
        masks = read_masks(images, {"structure": structure_mask, "appearance": appearance_mask})
        self._networks = networks or Networks()
        self.backbone, substitution = self._networks.backbone(settings.backbone, known, device, precision)
        self.images = images
        self.masks = masks
        self.substitution: Substitution | None = substitution
        self.settings = _resolved(settings, substitution, str(device), precision)
        loaded = perf_counter()
        grey = {image: mask.mean(1, keepdim=True) for image, mask in _on(device, masks, settings.size).items()}
        run_images = masked(RunImages(_on(device, images, settings.size), grey), settings.mask)
        memory.check(memory.Estimate(self.settings, self.backbone, known), run_images, memory.free(device))
        with memory.advice():
            self._optimisation = Staged(self.settings, run_images, self.backbone, known)
        self.history: list[Step] = []
        self.resumed_at = 0
        self.seconds = {"load": loaded - began, "start": perf_counter() - loaded, "steps": 0.0}

    def steps(self) -> Iterator[Step]:
        """Take the steps. Raises NonFiniteLoss, after which `result` has the last good image, and OutOfMemory."""
        began = perf_counter()
        steps = self._optimisation.steps()
        while True:
            with numerics(), memory.advice():
                step = next(steps, None)
            if step is None:
                return
            self.history.append(step)
            self.seconds["steps"] = perf_counter() - began
            yield step

    @property
    def finished(self) -> bool:
        """Whether every step was taken."""
        return len(self.history) == self.settings.steps

    @property
    def working_sizes(self) -> list[tuple[int, int]]:
        """The height and width that the output is worked on at, stage by stage; empty without steps."""
        return self._optimisation.sizes

    @property
    def output_size(self) -> tuple[int, int]:
        """The height and width of the output image."""
        return self._optimisation.output_size

    def snapshot(self) -> Snapshot:
        """Where the optimisation stands between two steps."""
        return self._optimisation.snapshot()

    @numerics()
    def restore(self, snapshot: Snapshot, history: Iterable[Step]) -> None:
        """Go on from where a run of the same images, settings and weights stood: to the same bytes."""
        self._optimisation.restore(snapshot)
        self.history = list(history)
        self.resumed_at = snapshot.step

    @numerics(grad=False)
    def pixels(self) -> Tensor:
        """The output image as it is now, float32 ``(3, H, W)`` on the CPU."""
        return self._optimisation.image()[0].float().cpu()

    def metrics(self, pixels: Tensor | None = None) -> list[Figure]:
        """How the output as it is now measures in networks other than the run's; none if the settings want none.

        A figure that fails, for whatever reason, has None for its value and says why.

        Args:
            pixels: as `pixels` gives them; None to take them from there.
        """
        if self.settings.metrics == "none":
            return []
        structure, appearance = (self.images[image].pixels for image in ("structure", "appearance"))
        cnn, failed = None, []
        try:
            cnn = self._networks.cnn(catalogue())
        except Exception as error:
            failed = [without_value(name, reason(error)) for name in NEED_A_CNN]
        output = self.pixels() if pixels is None else pixels
        measured = metrics(structure, appearance, output[None], cnn)
        return with_scale(measured, structure, appearance, self._start(), cnn) + failed

    def _start(self) -> Tensor | None:
        """The image that the output started from, ``(1, 3, H, W)``; None if it is the structure image or the output."""
        if self.settings.start == "structure" or not self.settings.steps:
            return None
        return self._optimisation.start.float().cpu()

    def result(self) -> Result:
        """The image as it is now, with everything known about it."""
        pixels = self.pixels()
        return Result(
            pixels=pixels,
            losses=tuple(self.history),
            settings=self.settings,
            facts=describe(self),
            metrics=tuple(self.metrics(pixels)),
            finished=self.finished,
            inputs={role: image.pixels[0] for role, image in self.images.items()}
            | {f"{role}_mask": mask.pixels[0] for role, mask in self.masks.items()},
        )


def _on(device: torch.device, images: dict[ImageName, LoadedImage], size: int | None) -> dict[ImageName, Tensor]:
    """Pixels on a device, brought to a shorter side of so many pixels, if any."""
    return {
        role: (resize_to(image.pixels, size) if size else image.pixels).to(device) for role, image in images.items()
    }


def _resolved(settings: RunConfig, substitution: Substitution | None, device: str, precision: str) -> RunConfig:
    """The settings with nothing left open, so that they give the same bytes again."""
    backbone = settings.backbone
    if substitution is not None:
        backbone = BackboneConfig(name=substitution.used)
    backbone = backbone.model_copy(update={"fallback": ()})
    return settings.model_copy(update={"backbone": backbone, "device": device, "precision": precision})
