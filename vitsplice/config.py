"""Settings of a run, as frozen pydantic models.

`support.bounded_yaml` parses YAML, `presets.loading` merges overrides and validates the result as a `RunConfig`, and
`support.validation_errors` converts pydantic's ValidationError to a ConfigError with one line per mistake.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    field_validator,
    model_serializer,
    model_validator,
)

from vitsplice.support import bounded_yaml
from vitsplice.text import truncate

Probability = Field(ge=0, le=1)

Beta = Annotated[float, Field(ge=0, lt=1)]

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""Name of a part (backbone, loss term, generator), facet or device."""

MAX_STEPS = 10_000_000

LOADED_BEFORE = frozenset({"preset", "backbone", "device", "precision", "with_fallback"})
"""Settings that are in use before it is known whether a fallback is."""

ONLY = "main"
"""Key of the backbone in settings that have one, written as ``backbone``."""

TILED_AREA = 1.5
"""Minimum area of the output in a stage on tiles, relative to that of the stage before it."""


def ascending(low: float, high: float) -> AfterValidator:
    """Accept two numbers between ``low`` and ``high``, the smaller first."""

    def check(pair: tuple[float, float]) -> tuple[float, float]:
        if not low <= pair[0] <= pair[1] <= high:
            raise ValueError(f"must be two numbers from {low:g} to {high:g}, the smaller first")
        return pair

    return AfterValidator(check)


def _check_side(side: Any) -> Any:
    if side is None or side == "view" or (isinstance(side, int) and 16 <= side <= 4096):
        return side
    raise ValueError("must be an integer from 16 to 4096, or view")


_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's dumper if available: five times as fast, which matters for a batch of short runs."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _check_value(cls, value: Any) -> Any:
        """Refuse booleans, which pydantic accepts as numbers, and text that cannot be a file name."""
        if isinstance(value, bool):
            raise ValueError("true and false are not allowed here")
        if isinstance(value, str | Path) and not bounded_yaml.is_valid_text(str(value)):
            raise ValueError("must not contain NUL characters or lone surrogates")
        return value


class BackboneConfig(_Settings):
    """A backbone of a run, and its fallbacks.

    Args:
        name: name of the backbone.
        weights: weights file. A relative path is resolved against the working directory, or in a preset against the
            folder of the preset.
        sha256: SHA-256 of that file; any other file is refused.
        network_sha256: SHA-256 of the tensors of a loaded backbone (`BackboneInfo.sha256`); other weights are refused.
        fallback: names of backbones to use, in this order, if the weights are unavailable.
        side: views are resized to about ``side * side`` pixels for this backbone; ``view``: they keep their size, up to
            what the backbone accepts; None: to the size of the stage, or without stages as set by ``resize``.
        precision: precision of this backbone; None: that of the run.
    """

    name: Name
    weights: Path | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    network_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    fallback: tuple[Name, ...] = ()
    side: Annotated[int | Literal["view"] | None, BeforeValidator(_check_side)] = None
    precision: Literal["auto", "float32", "bfloat16"] | None = None

    @field_validator("weights")
    @classmethod
    def _make_absolute(cls, weights: Path | None) -> Path | None:
        return None if weights is None else Path(os.path.abspath(weights))

    @model_validator(mode="after")
    def _check_sha256(self) -> BackboneConfig:
        if self.sha256 and self.weights is None:
            raise ValueError("sha256 requires weights, the file that it is the digest of")
        return self


class GeneratorConfig(_Settings):
    """Name and options (`GeneratorSpec.options`) of the generator."""

    name: Name = "unet"
    options: dict[str, Any] = {}


class TermConfig(_Settings):
    """A weighted loss term.

    It is active at steps, counted from 0, with ``step >= start`` and ``step % every == 0``.

    Args:
        loss: name of the loss term.
        backbone: key in ``backbones`` of the backbone that it uses; None: the run's first.
        weight: weight in the total loss.
        view: view that the generator gets as input: a random crop, or the entire image.
        target_view: view that the output is compared with; None: the same as ``view``.
        input: image that the generator gets as input; None: the default of the loss term.
        target: image that the output is compared with; None: the default of the loss term.
        start: first step at which it may be active.
        every: interval in steps.
        facet, layer: features to compare; None: the backbone's default for structure or appearance.
        options: options of the loss term by name (`LossSpec.options`).
    """

    loss: Name
    backbone: Name | None = None
    weight: float = Field(ge=0, le=1e12)
    view: Literal["crop", "entire"] = "crop"
    target_view: Literal["crop", "entire"] | None = None
    input: Literal["structure", "appearance"] | None = None
    target: Literal["structure", "appearance", "start"] | None = None
    start: int = Field(default=0, ge=0, le=MAX_STEPS)
    every: int = Field(default=1, ge=1, le=MAX_STEPS)
    facet: Name | None = None
    layer: int | None = None
    options: dict[str, Any] = {}

    def ever_active(self, steps: int) -> bool:
        """Return whether the term is active at any of the first ``steps`` steps."""
        first = -(-self.start // self.every) * self.every
        return self.weight > 0 and first < steps

    def active(self, step: int) -> bool:
        """Return whether the term is active at a step."""
        return self.weight > 0 and step >= self.start and step % self.every == 0


class JitterConfig(_Settings):
    """Colour jitter in random order, applied with a probability.

    Each value is the maximum change, as in torchvision's ``ColorJitter``: of the factors of brightness, contrast and
    saturation from 1, and of the hue as a fraction of the colour circle.
    """

    probability: float = Probability
    brightness: float = Field(default=0.4, ge=0, le=1)
    contrast: float = Field(default=0.4, ge=0, le=1)
    saturation: float = Field(default=0.2, ge=0, le=1)
    hue: float = Field(default=0.1, ge=0, le=0.5)


class BlurConfig(_Settings):
    """Gaussian blur, applied with a probability: odd kernel size and range of the standard deviation, in pixels."""

    probability: float = Probability
    kernel: int = Field(default=3, ge=1, le=9999)
    sigma: Annotated[tuple[float, float], ascending(0.01, 1000)] = (0.1, 2.0)

    @field_validator("kernel")
    @classmethod
    def _check_odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("must be odd")
        return kernel


class ViewConfig(_Settings):
    """Random views of an image: a crop, a horizontal flip, colour jitter and blur.

    Args:
        crop: range of the side of the crop, as a fraction of that of the image; drawn uniformly.
        shape: ``square``: a square crop, relative to the image's shorter side; ``image``: a crop with the aspect
            ratio of the image.
        bank: number of fixed views, whose target features are computed once; None: a new view each step.
        flip: probability of the flip.
    """

    crop: Annotated[tuple[float, float], ascending(0.01, 1)] = (0.95, 1.0)
    shape: Literal["square", "image"] = "square"
    bank: int | None = Field(default=None, ge=1, le=256)
    flip: float = Field(default=0.5, ge=0, le=1)
    jitter: JitterConfig = JitterConfig(probability=0)
    blur: BlurConfig = BlurConfig(probability=0)


class ViewsConfig(_Settings):
    """Random views of the structure image and of the appearance image."""

    structure: ViewConfig = ViewConfig()
    appearance: ViewConfig = ViewConfig()


class ResizeConfig(_Settings):
    """Resizing of images for the backbone: shorter side, and maximum of the longer side, in pixels."""

    size: int = Field(default=224, ge=16, le=4096)
    max_size: int | None = Field(default=None, ge=16, le=16384)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"


class OptimiserConfig(_Settings):
    """Adam: learning rate, decay rates of the moments, and the schedule of the learning rate over the run."""

    lr: float = Field(default=0.002, gt=0, le=10)
    betas: tuple[Beta, Beta] = (0.0, 0.99)
    schedule: Literal["constant", "cosine"] = "constant"


class MatchConfig(_Settings):
    """The correspondence for the warm start (`vitsplice.matching`).

    Args:
        grid: images are matched on about ``grid * grid`` patches.
        temperature: temperature of the softmax over cosine similarities; lower values match more sharply.
        balance: 0: patches of the appearance image may be used any number of times; 1: all about equally often.
        agreement: penalty for neighbouring patches that match different colours; 0: patches are matched independently.
    """

    grid: int = Field(default=48, ge=2, le=256)
    temperature: float = Field(default=0.02, ge=1e-4, le=10)  # below: float32 overflows in `assignment`
    balance: float = Field(default=0.2, ge=0, le=1)
    agreement: float = Field(default=0.25, ge=0, le=10)


class MaskConfig(_Settings):
    """The structure mask.

    ``feather`` is the standard deviation of the blur of its edge, as a fraction of the image's shorter side.
    """

    feather: float = Field(default=0.004, ge=0, le=0.1)


class StageConfig(_Settings):
    """A stage of a coarse-to-fine run.

    Args:
        side: images are resized to about ``side * side`` pixels, with their aspect ratio.
        share: relative number of steps; the shares of all stages are normalised.
        lr: learning rate; None: ``optimiser.lr``.
        tile: the losses are computed on tiles of about ``tile * tile`` pixels, one after another, so that memory does
            not grow with ``side``; each step covers the entire image. None: on the entire image at once. A stage on
            tiles is left out if the output has less than `TILED_AREA` times the area of the stage before it.
        terms: names of the terms that are active in this stage; None: all.
    """

    side: int = Field(ge=16, le=16384)
    share: float = Field(default=1.0, ge=1e-6, le=1e6)
    lr: float | None = Field(default=None, gt=0, le=10)
    tile: int | None = Field(default=None, ge=64, le=4096)
    terms: tuple[Name, ...] | None = None

    def has(self, term: str) -> bool:
        """Return whether a term is active in the stage."""
        return self.terms is None or term in self.terms


class CheckpointConfig(_Settings):
    """Checkpoints: one every ``every`` steps, and one whenever ``seconds`` have passed since the last; 0: none.

    The interval in seconds is extended if checkpoints would take over 1 % of the run's time.
    """

    every: int = Field(default=0, ge=0, le=MAX_STEPS)
    seconds: float = Field(default=30.0, ge=0, le=1e9)


class RunConfig(_Settings):
    """Settings of a run: everything that its output depends on besides the images.

    Args:
        preset: name or file of the preset that the settings are based on, recorded only.
        backbones: backbones by the name that terms use. The first matches the images, and is that of terms which name
            none. A single one is written as ``backbone``, without a name.
        start: image that the output starts from: the structure image, or the warm start by correspondence (``match``).
        terms: loss terms by name; the names are the columns of ``losses.csv``.
        stages: stages from coarse to fine; the change that they make is upsampled and added to the start image at
            full size. Empty: images are optimised at full size.
        structure_strength: factor applied to the weights of all terms whose target is the structure image or the start.
        appearance_strength: factor applied to the weights of all terms whose target is the appearance image. Below
            1 it also weakens the warm start. Without steps the warm start depends on both strengths
            (`vitsplice.engine.warm_start`).
        steps: number of steps; 0 returns the warm start.
        size: shorter side, in pixels, to which both images are resized first; None: no resizing.
        seed: seed of all random number generators.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto``: CUDA, MPS or the CPU, the first that is available.
        precision: precision of the backbone; ``auto``: bfloat16 where it is faster.
        previews: interval of previews in steps, besides those of the start and of two early steps; 0: no previews.
        metrics: whether to measure the output at the end of the run (`vitsplice.metrics`).
        plots: whether to write ``losses.png`` and ``report.html``.
        with_fallback: settings that replace those above if a fallback is used in place of a backbone, as nested
            mappings (`vitsplice.presets.merging`). Settings that the user overrides are not replaced.

    Previews, metrics, plots and checkpoints do not change the output.
    """

    preset: str | None = Field(default=None, max_length=bounded_yaml.MAX_TEXT)
    backbones: dict[str, BackboneConfig] = Field(min_length=1)
    start: Literal["structure", "match"] = "structure"
    match: MatchConfig = MatchConfig()
    mask: MaskConfig = MaskConfig()
    generator: GeneratorConfig = GeneratorConfig()
    terms: dict[str, TermConfig] = {}
    stages: tuple[StageConfig, ...] = ()
    structure_strength: float = Field(default=1.0, ge=0, le=10)
    appearance_strength: float = Field(default=1.0, ge=0, le=10)
    views: ViewsConfig = ViewsConfig()
    resize: ResizeConfig = ResizeConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    steps: int = Field(ge=0, le=MAX_STEPS)
    size: int | None = Field(default=None, ge=16, le=16384)
    seed: int = Field(default=0, ge=0, lt=2**63)
    device: Name = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    previews: int = Field(default=50, ge=0, le=MAX_STEPS)
    metrics: Literal["all", "none"] = "all"
    plots: Literal["all", "none"] = "all"
    checkpoint: CheckpointConfig = CheckpointConfig()
    with_fallback: dict[str, Any] = {}

    @field_validator("with_fallback")
    @classmethod
    def _check_with_fallback(cls, changes: dict[str, Any]) -> dict[str, Any]:
        if fixed := sorted(LOADED_BEFORE.intersection(changes)):
            raise ValueError(f"{fixed[0]} cannot be changed with the fallback, which is loaded with it")
        return changes

    @model_validator(mode="before")
    @classmethod
    def _read_one_backbone(cls, data: Any) -> Any:
        """Accept ``backbone`` in the place of ``backbones``."""
        if not isinstance(data, dict) or "backbone" not in data:
            return data
        if "backbones" in data:
            raise ValueError("give either backbone or backbones, not both")
        return {("backbones" if key == "backbone" else key): value for key, value in data.items()} | {
            "backbones": {ONLY: data["backbone"]}
        }

    @model_serializer(mode="wrap")
    def _write_one_backbone(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write a single backbone as ``backbone``."""
        data: dict[str, Any] = dump(self)
        if list(self.backbones) != [ONLY] or "backbones" not in data:
            return data
        return {
            ("backbone" if key == "backbones" else key): value[ONLY] if key == "backbones" else value
            for key, value in data.items()
        }

    @field_validator("terms")
    @classmethod
    def _check_names(cls, terms: dict[str, TermConfig]) -> dict[str, TermConfig]:
        for name in terms:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or name in {"step", "total"}:
                rule = "1 to 64 letters, digits, - and _, and not step or total"
                raise ValueError(f"a term's name is {rule}: not {truncate(name)!r}")
        return terms

    @field_validator("backbones")
    @classmethod
    def _check_backbone_names(cls, backbones: dict[str, BackboneConfig]) -> dict[str, BackboneConfig]:
        for name in backbones:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
                raise ValueError(f"a key is 1 to 64 letters, digits, - and _: not {truncate(name)!r}")
        return backbones

    @model_validator(mode="after")
    def _check_references(self) -> RunConfig:
        for name, term in self.terms.items():
            if term.backbone is not None and term.backbone not in self.backbones:
                allowed = ", ".join(self.backbones)
                raise ValueError(f"terms.{name}.backbone: {term.backbone!r} is not one of the backbones: {allowed}")
        added = self.with_fallback.get("backbones")
        if changed := [name for name in self.backbones if isinstance(added, dict) and name in added]:
            raise ValueError(f"with_fallback.backbones: {changed[0]!r} is already a backbone; only others can be added")
        for number, stage in enumerate(self.stages):
            if unknown := [name for name in stage.terms or () if name not in self.terms]:
                allowed = ", ".join(self.terms)
                raise ValueError(f"stages.{number}.terms: {unknown[0]!r} is not one of the terms: {allowed}")
        return self

    @model_validator(mode="after")
    def _check_work(self) -> RunConfig:
        if self.steps == 0 and self.start == "structure":
            raise ValueError("steps: 0 is not allowed unless start is match; the output would be the structure image")
        if self.steps > 0 and not self.terms:
            raise ValueError(
                f"steps: {self.steps} is not allowed: these settings have no loss terms; set steps to 0, or use a "
                "preset with terms, such as quick"
            )
        return self

    @property
    def backbone(self) -> BackboneConfig:
        """The first backbone."""
        return next(iter(self.backbones.values()))

    def backbone_of(self, term: TermConfig) -> str:
        """Return the key of the backbone that a term uses."""
        return term.backbone or next(iter(self.backbones))

    @property
    def optimised_losses(self) -> set[str]:
        """Names of the loss terms that contribute to the optimisation."""
        return {term.loss for term in self.terms.values() if term.weight > 0 and self.steps > 0}

    def to_yaml(self) -> str:
        """Format as YAML, from which `vitsplice.presets.loading.load` restores equal settings."""
        return str(yaml.dump(self.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False))
