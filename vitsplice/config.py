"""The settings of a run: frozen, validated. `vitsplice.presets.loading` makes them of presets and overrides."""

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
from vitsplice.text import shortened

Probability = Field(ge=0, le=1)

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""Of a part, a facet or a device."""

MOST_STEPS = 10_000_000


def rising(low: float, high: float) -> AfterValidator:
    """Accept two numbers in a range, the smaller first."""

    def check(pair: tuple[float, float]) -> tuple[float, float]:
        if not low <= pair[0] <= pair[1] <= high:
            raise ValueError(f"must be two numbers from {low:g} to {high:g}, the smaller first")
        return pair

    return AfterValidator(check)


_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The one in C where there is one: a fifth of the time, which a batch of small runs would feel."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """No setting is true or false, and neither is a number; text can be written, and given to the system."""
        if isinstance(value, bool):
            raise ValueError("true and false are not values of this setting")
        if isinstance(value, str | Path) and not bounded_yaml.is_text(str(value)):
            raise ValueError("it has a NUL character or an incomplete Unicode character")
        return value


class BackboneConfig(_Settings):
    """Which backbone, and what may stand in for it when its weights cannot be had.

    ``weights`` is a file, relative to the working directory or to the folder of the preset that names it, and absolute
    in the settings; ``sha256`` is of its bytes, and no other file is then taken. ``network_sha256`` is that of the
    tensors of a loaded backbone that was given (`BackboneInfo.sha256`): other weights of its name are refused.
    """

    name: Name
    weights: Path | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    network_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    fallback: tuple[Name, ...] = ()

    @field_validator("weights")
    @classmethod
    def _absolute(cls, weights: Path | None) -> Path | None:
        return None if weights is None else Path(os.path.abspath(weights))

    @model_validator(mode="after")
    def _of_a_file(self) -> BackboneConfig:
        if self.sha256 and self.weights is None:
            raise ValueError("sha256 is that of the file that weights names, and there is none")
        return self


class GeneratorConfig(_Settings):
    """Which generator, and its options."""

    name: Name = "unet"
    options: dict[str, Any] = {}


class TermConfig(_Settings):
    """One weighted loss term.

    It runs at the steps ``start <= step`` with ``step % every == 0``. ``view`` is the view that the generator is
    fed, ``target_view`` the one that its output is compared with (the same unless said). ``input`` and ``target``
    say of which image, in place of the term's own.
    """

    loss: Name
    weight: float = Field(ge=0, le=1e12)
    view: Literal["crop", "entire"] = "crop"
    target_view: Literal["crop", "entire"] | None = None
    input: Literal["structure", "appearance"] | None = None
    target: Literal["structure", "appearance", "start"] | None = None
    start: int = Field(default=0, ge=0, le=MOST_STEPS)
    every: int = Field(default=1, ge=1, le=MOST_STEPS)
    facet: Name | None = None
    layer: int | None = None
    options: dict[str, Any] = {}

    def ever_active(self, steps: int) -> bool:
        """Whether the term is part of any step's loss in a run of so many steps."""
        first = -(-self.start // self.every) * self.every
        return self.weight > 0 and first < steps

    def active(self, step: int) -> bool:
        """Whether the term is part of this step's loss."""
        return self.weight > 0 and step >= self.start and step % self.every == 0


class JitterConfig(_Settings):
    """Colour jitter, in random order: factors 1 +- brightness, contrast, saturation; hue +- a part of the circle."""

    probability: float = Probability
    brightness: float = Field(default=0.4, ge=0, le=1)
    contrast: float = Field(default=0.4, ge=0, le=1)
    saturation: float = Field(default=0.2, ge=0, le=1)
    hue: float = Field(default=0.1, ge=0, le=0.5)


class BlurConfig(_Settings):
    """Gaussian blur with sigma (in pixels) drawn uniformly."""

    probability: float = Probability
    kernel: int = Field(default=3, ge=1, le=9999)
    sigma: Annotated[tuple[float, float], rising(0.01, 1000)] = (0.1, 2.0)

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("must be odd")
        return kernel


class ViewConfig(_Settings):
    """How views of one image are drawn: a crop, a flip, colour jitter, blur.

    A ``square`` crop's side is uniform in ``crop`` times the image's shorter side; one of the shape of the
    ``pixels`` has both its sides times that. With a ``bank`` only so many views are drawn, and their features as
    targets are kept; without, every step draws its own.
    """

    crop: Annotated[tuple[float, float], rising(0.01, 1)] = (0.95, 1.0)
    shape: Literal["square", "image"] = "square"
    bank: int | None = Field(default=None, ge=1, le=256)
    flip: float = Field(default=0.5, ge=0, le=1)
    jitter: JitterConfig = JitterConfig(probability=0)
    blur: BlurConfig = BlurConfig(probability=0)


class ViewsConfig(_Settings):
    """Views of the structure image and of the appearance image."""

    structure: ViewConfig = ViewConfig()
    appearance: ViewConfig = ViewConfig()


class ResizeConfig(_Settings):
    """The size at which the backbone looks at images (shorter side, and the most of the longer), in pixels."""

    size: int = Field(default=224, ge=16, le=4096)
    max_size: int | None = Field(default=None, ge=16, le=16384)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"


class OptimiserConfig(_Settings):
    """Adam; ``schedule`` is how the learning rate goes over the run."""

    lr: float = Field(default=0.002, gt=0, le=10)
    betas: tuple[float, float] = (0.0, 0.99)
    schedule: Literal["constant", "cosine"] = "constant"

    @field_validator("betas")
    @classmethod
    def _below_one(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("must be two numbers in [0, 1)")
        return betas


class MatchConfig(_Settings):
    """The correspondence behind a warm start: see `vitsplice.matching`.

    Images are matched on a grid of about ``grid * grid``. ``agreement`` is how much neighbouring patches pay for
    taking different colours; 0 matches each by itself.
    """

    grid: int = Field(default=48, ge=2, le=256)
    temperature: float = Field(default=0.02, ge=1e-4, le=10)  # below: float32 overflows in `assignment`
    balance: float = Field(default=0.2, ge=0, le=1)
    agreement: float = Field(default=0.25, ge=0, le=10)


class MaskConfig(_Settings):
    """How the edge of the structure mask is softened.

    ``feather`` is the standard deviation of a blur, as a part of the image's shorter side; 0 leaves the edge hard.
    """

    feather: float = Field(default=0.004, ge=0, le=0.1)


class StageConfig(_Settings):
    """One stage, coarse to fine: images at about ``side * side`` pixels, for its ``share`` of the steps.

    ``lr`` is in place of the optimiser's.
    """

    side: int = Field(ge=16, le=4096)
    share: float = Field(default=1.0, ge=1e-6, le=1e6)
    lr: float | None = Field(default=None, gt=0, le=10)


class CheckpointConfig(_Settings):
    """When a run that is written to a folder keeps where it stands, to be resumed.

    Every so many steps (``every``; 0: not by steps), and after so many seconds (``seconds``; 0: not by time), whichever
    comes first. By time never more often than costs a hundredth of the run.
    """

    every: int = Field(default=0, ge=0, le=MOST_STEPS)
    seconds: float = Field(default=30.0, ge=0, le=1e9)


class RunConfig(_Settings):
    """Everything that a run depends on besides its images.

    ``preset`` is the name or the file of the preset that the settings began as, for the records; it changes nothing.
    ``start`` is the image that the output starts from: the structure image, or (``match``) the warm start. With
    ``stages`` the images are worked on at those sizes, and what that changes is laid over the start at its full
    size; without, they are worked on as they are. ``size`` is the shorter side that both images are brought to
    first (None: as they are). The strengths multiply the weights of the terms that compare with the structure
    image and the start, and with the appearance image; appearance below 1 weakens the warm start too. Without
    steps the warm start goes by both strengths (`vitsplice.engine.warm_start`).
    ``previews`` is the number of steps between previews, which begin with the start and have two early ones (0: none);
    ``metrics`` whether the output is measured at the end by `vitsplice.metrics.output`; ``plots`` whether
    losses.png and report.html are made; none of them, nor ``checkpoint``, changes the output.
    """

    preset: str | None = Field(default=None, max_length=bounded_yaml.LONGEST_TEXT)
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
    steps: int = Field(ge=0, le=MOST_STEPS)
    size: int | None = Field(default=None, ge=16, le=16384)
    seed: int = Field(default=0, ge=0, lt=2**63)
    device: Name = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    previews: int = Field(default=50, ge=0, le=MOST_STEPS)
    metrics: Literal["all", "none"] = "all"
    plots: Literal["all", "none"] = "all"
    checkpoint: CheckpointConfig = CheckpointConfig()

    @field_validator("terms")
    @classmethod
    def _plain_names(cls, terms: dict[str, TermConfig]) -> dict[str, TermConfig]:
        for name in terms:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or name in {"step", "total"}:
                rule = "1 to 64 letters, digits, - and _, and not step or total"
                raise ValueError(f"a term's name is {rule}: not {shortened(name)!r}")
        return terms

    @model_validator(mode="after")
    def _something_to_do(self) -> RunConfig:
        if self.steps == 0 and self.start == "structure":
            raise ValueError("steps: 0 is not allowed unless start is match; there would be nothing to do")
        if self.steps > 0 and not self.terms:
            raise ValueError("terms: there are none; a run with steps needs at least one")
        return self

    @property
    def optimised_losses(self) -> set[str]:
        """Names of the loss terms that contribute to the optimisation."""
        return {term.loss for term in self.terms.values() if term.weight > 0 and self.steps > 0}

    def to_yaml(self) -> str:
        """YAML that is loadable as a preset and gives the same settings."""
        return str(yaml.dump(self.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False))
