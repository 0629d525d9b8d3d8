"""Settings of a run, as frozen pydantic models.

YAML text -> plain data (`support.bounded_yaml`) -> with overrides (`presets.loading`) -> `RunConfig`
pydantic's ValidationError -> a line for each mistake (`support.validation_errors`) -> ConfigError
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
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from vitsplice.support import bounded_yaml
from vitsplice.text import truncate

Probability = Field(ge=0, le=1)

Beta = Annotated[float, Field(ge=0, lt=1)]

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""Name of a part (backbone, loss term, generator), facet or device."""

MAX_STEPS = 10_000_000


def ascending(low: float, high: float) -> AfterValidator:
    """Accept two numbers between ``low`` and ``high``, the smaller first."""

    def check(pair: tuple[float, float]) -> tuple[float, float]:
        if not low <= pair[0] <= pair[1] <= high:
            raise ValueError(f"must be two numbers from {low:g} to {high:g}, the smaller first")
        return pair

    return AfterValidator(check)


_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The dumper in C, if available: it takes a fifth of the time, which matters for a batch of short runs."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _check_value(cls, value: Any) -> Any:
        """Refuse booleans, which pydantic accepts as numbers, and text that cannot be the name of a file."""
        if isinstance(value, bool):
            raise ValueError("true and false are not values of this setting")
        if isinstance(value, str | Path) and not bounded_yaml.is_text(str(value)):
            raise ValueError("it has a NUL character or an incomplete Unicode character")
        return value


class BackboneConfig(_Settings):
    """The backbone of a run, and substitutes for it.

    Args:
        name: name of the backbone.
        weights: file with its weights; relative to the working directory, or to the folder of the preset that contains
            this setting. Absolute once loaded.
        sha256: SHA-256 of that file; any other file is refused.
        network_sha256: SHA-256 of the tensors of a loaded backbone (`BackboneInfo.sha256`); other weights are refused.
        fallback: names of backbones to use, in this order, if the weights are unavailable.
    """

    name: Name
    weights: Path | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    network_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    fallback: tuple[Name, ...] = ()

    @field_validator("weights")
    @classmethod
    def _make_absolute(cls, weights: Path | None) -> Path | None:
        return None if weights is None else Path(os.path.abspath(weights))

    @model_validator(mode="after")
    def _check_sha256(self) -> BackboneConfig:
        if self.sha256 and self.weights is None:
            raise ValueError("sha256 requires weights, the file that it belongs to")
        return self


class GeneratorConfig(_Settings):
    """The generator: its name, and its options by name (`GeneratorSpec.options`)."""

    name: Name = "unet"
    options: dict[str, Any] = {}


class TermConfig(_Settings):
    """A weighted loss term.

    It is active at every step with ``start <= step`` and ``step % every == 0``, counted from 0.

    Args:
        loss: name of the loss term.
        weight: weight in the total loss.
        view: view that the generator gets as input: a random crop, or the entire image.
        target_view: view that the output is compared with; None: the same as ``view``.
        input: image that the generator gets as input; None: that of the loss term.
        target: image that the output is compared with; None: that of the loss term.
        start: first step.
        every: interval in steps.
        facet, layer: features to compare; None: the backbone's default for the role.
        options: options of the loss term by name (`LossSpec.options`).
    """

    loss: Name
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

    Factors of brightness, contrast and saturation deviate from 1 by at most the values given here; the hue shifts by at
    most the given fraction of the colour circle.
    """

    probability: float = Probability
    brightness: float = Field(default=0.4, ge=0, le=1)
    contrast: float = Field(default=0.4, ge=0, le=1)
    saturation: float = Field(default=0.2, ge=0, le=1)
    hue: float = Field(default=0.1, ge=0, le=0.5)


class BlurConfig(_Settings):
    """Gaussian blur, applied with a probability: odd kernel size, and range of the standard deviation, in pixels."""

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
        crop: range of the crop's side as a fraction, from which it is drawn uniformly.
        shape: ``square``: a square crop, relative to the image's shorter side; ``image``: a crop with the aspect
            ratio of the image.
        bank: number of different views in the run, whose target features are computed once; None: a new view each step.
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
        balance: 0: patches of the appearance image may be used any number of times; 1: about equally often.
        agreement: penalty for neighbouring patches that match different colours; 0 matches each patch on its own.
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
        share: number of steps, relative to that of the other stages.
        lr: learning rate; None: that of the optimiser.
    """

    side: int = Field(ge=16, le=4096)
    share: float = Field(default=1.0, ge=1e-6, le=1e6)
    lr: float | None = Field(default=None, gt=0, le=10)


class CheckpointConfig(_Settings):
    """Checkpoints: one every ``every`` steps, and one whenever ``seconds`` have passed since the last; 0: none.

    The interval in seconds is extended if checkpoints would take over 1 % of the run's time.
    """

    every: int = Field(default=0, ge=0, le=MAX_STEPS)
    seconds: float = Field(default=30.0, ge=0, le=1e9)


class RunConfig(_Settings):
    """Settings of a run: everything that its output depends on besides the images.

    Args:
        preset: name or file of the preset that the settings are based on, for the records only.
        start: image that the output starts from: the structure image, or the warm start by correspondence (``match``).
        terms: loss terms by name; the names are the columns of ``losses.csv``.
        stages: stages from coarse to fine. Their change is added to the start at its full size. Without stages the
            images are optimised at their size.
        structure_strength: factor of the weights of all terms whose target is the structure image or the start.
        appearance_strength: factor of the weights of all terms whose target is the appearance image. Below 1 it also
            weakens the warm start. Without steps the warm start depends on both strengths
            (`vitsplice.engine.warm_start`).
        steps: number of steps; 0 returns the warm start.
        size: shorter side in pixels that both images are resized to first; None: their own size.
        seed: seed of all random number generators.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto``: CUDA, MPS or the CPU, the first that is available.
        precision: precision of the backbone; ``auto``: bfloat16 where it is faster.
        previews: interval of previews in steps, with the start and two more at the beginning; 0: no previews.
        metrics: metrics of the output at the end of the run (`vitsplice.metrics`).
        plots: ``losses.png`` and ``report.html``.

    Previews, metrics, plots and checkpoints do not change the output.
    """

    preset: str | None = Field(default=None, max_length=bounded_yaml.MAX_TEXT)
    backbone: BackboneConfig
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

    @field_validator("terms")
    @classmethod
    def _check_names(cls, terms: dict[str, TermConfig]) -> dict[str, TermConfig]:
        for name in terms:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or name in {"step", "total"}:
                rule = "1 to 64 letters, digits, - and _, and not step or total"
                raise ValueError(f"a term's name is {rule}: not {truncate(name)!r}")
        return terms

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
    def optimised_losses(self) -> set[str]:
        """Names of the loss terms that contribute to the optimisation."""
        return {term.loss for term in self.terms.values() if term.weight > 0 and self.steps > 0}

    def to_yaml(self) -> str:
        """Format as YAML, from which `vitsplice.presets.loading.load` restores equal settings."""
        return str(yaml.dump(self.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False))
