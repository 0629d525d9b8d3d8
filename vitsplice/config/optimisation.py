"""Settings of the optimisation: the generator, the optimiser, checkpoints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vitsplice.config.settings import MAX_STEPS, AdamBeta, Name, Settings


class GeneratorConfig(Settings):
    """Name of the generator, and values of options that its `GeneratorSpec` or `ConditionalGeneratorSpec` declares."""

    name: Name = "unet"
    options: dict[str, Any] = Field(default_factory=dict)


class OptimiserConfig(Settings):
    """Adam: learning rate, decay rates of the moments, and schedule of the learning rate over the run.

    ``cosine`` decays from ``lr`` towards 0. If a run has stages, the schedule begins anew in each.
    """

    lr: float = Field(default=0.002, gt=0, le=10)
    betas: tuple[AdamBeta, AdamBeta] = (0.0, 0.99)
    schedule: Literal["constant", "cosine"] = "constant"


class CheckpointConfig(Settings):
    """Checkpoints: one every ``every`` steps, and one whenever ``seconds`` have passed since the last checkpoint.

    0 disables an interval. The interval in seconds becomes longer where writing checkpoints would otherwise take more
    than 1 % of the run's time.
    """

    every: int = Field(default=0, ge=0, le=MAX_STEPS)
    seconds: float = Field(default=30.0, ge=0, le=1e9)
