"""Settings of the training of one generator for many pairs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vitsplice.config.settings import MAX_STEPS, Settings


class TrainingConfig(Settings):
    """Training of a conditional generator on many pairs of images.

    Args:
        batch: number of pairs whose losses and gradients are computed at once, in each process.
        accumulation: number of batches whose gradients are averaged in each step.
        warm_up: number of first steps in which the learning rate increases linearly to its full value.
        ema: decay per step (lower at first) of the moving average of the weights. The trained model has the averaged
            weights; with 0 it has those of the last step.
        side: shorter side of the training images, in pixels.
        partners: maximum number of appearance images for each structure image, if pairs are not given.
        precision: precision of the generator (bfloat16: by autocast); ``auto``: bfloat16 where the device has it in
            hardware.
        held_out: approximate fraction of the images that are excluded from training, so that the model is measured on
            them; 0: none.
    """

    batch: int = Field(default=4, ge=1, le=4096)
    accumulation: int = Field(default=1, ge=1, le=4096)
    warm_up: int = Field(default=200, ge=0, le=MAX_STEPS)
    ema: float = Field(default=0.999, ge=0, lt=1)
    side: int = Field(default=384, ge=16, le=4096)
    partners: int = Field(default=10, ge=1, le=1000)
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    held_out: float = Field(default=0.2, ge=0, le=0.9)
