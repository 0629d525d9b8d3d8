"""Settings of the random views of images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from vitsplice.config.settings import Probability, Settings, ascending
from vitsplice.contracts import ImageName


class JitterConfig(Settings):
    """Colour jitter in random order, applied with a probability.

    As in torchvision's ``ColorJitter``, ``brightness``, ``contrast`` and ``saturation`` are the maximum differences of
    their factors from 1, and ``hue`` is the maximum shift, as a fraction of the colour circle.
    """

    probability: Probability
    brightness: float = Field(default=0.4, ge=0, le=1)
    contrast: float = Field(default=0.4, ge=0, le=1)
    saturation: float = Field(default=0.2, ge=0, le=1)
    hue: float = Field(default=0.1, ge=0, le=0.5)


class BlurConfig(Settings):
    """Gaussian blur, applied with a probability: odd kernel size and range of the standard deviation, in pixels."""

    probability: Probability
    kernel: int = Field(default=3, ge=1, le=9999)
    sigma: Annotated[tuple[float, float], ascending(0.01, 1000)] = (0.1, 2.0)

    @field_validator("kernel")
    @classmethod
    def _check_odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("must be odd")
        return kernel


class ViewConfig(Settings):
    """Random views of an image: a crop, a horizontal flip, colour jitter and blur.

    Args:
        crop: smallest and largest scale of the crop; the scale of a view is drawn uniformly.
        shape: ``square``: both sides of the crop are the scale times the image's shorter side; ``image``: each side is
            the scale times that of the image.
        bank: number of fixed views, whose target features are computed once; None: a new view each step.
        flip: probability of the flip.
    """

    crop: Annotated[tuple[float, float], ascending(0.01, 1)] = (0.95, 1.0)
    shape: Literal["square", "image"] = "square"
    bank: int | None = Field(default=None, ge=1, le=256)
    flip: Probability = 0.5
    jitter: JitterConfig = JitterConfig(probability=0)
    blur: BlurConfig = BlurConfig(probability=0)


class ViewsConfig(Settings):
    """Random views of the structure image and of the appearance image."""

    structure: ViewConfig = ViewConfig()
    appearance: ViewConfig = ViewConfig()

    def of(self, image: ImageName) -> ViewConfig:
        """Return the settings of the views of an image; the start image has those of the structure image."""
        return self.appearance if image == "appearance" else self.structure
