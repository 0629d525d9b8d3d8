"""Settings of resizing for backbones, of the correspondence of images, and of the structure mask."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from vitsplice.config.settings import Name, Settings


class ResizeConfig(Settings):
    """Resizing of views for backbones that have no ``side``, in runs without stages and in trainings.

    Args:
        size: shorter side in pixels.
        max_size: maximum length of the longer side in pixels; None: no maximum.
        interpolation: ``bicubic`` or ``bilinear``.
    """

    size: int = Field(default=224, ge=16, le=4096)
    max_size: int | None = Field(default=None, ge=16, le=16384)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"


class MatchConfig(Settings):
    """The correspondence of structure and appearance image (`vitsplice.matching`), for a start or terms that use it.

    Args:
        grid: images are matched on about ``grid * grid`` patches.
        temperature: temperature of the softmax over cosine similarities; lower values match more sharply.
        balance: 0: patches of the appearance image may be used any number of times; 1: all about equally often.
        agreement: weight of the penalty for neighbouring patches that match different colours, in units of similarity;
            0: neighbours have no influence, and `vitsplice.matching.priors` are not used.
        further_backbones: keys of backbones whose features are joined to the descriptors of the first backbone
            (`vitsplice.matching.describe_image`). They are not allowed with training, and not used with the start
            ``model``, because a trained model matches by one backbone.
    """

    grid: int = Field(default=40, ge=2, le=256)
    temperature: float = Field(default=0.02, ge=1e-4, le=10)  # float32 overflows in `assignment` if it is lower
    balance: float = Field(default=0.2, ge=0, le=1)
    agreement: float = Field(default=0.25, ge=0, le=10)
    further_backbones: tuple[Name, ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments temperature, balance and agreement of `vitsplice.matching.match_candidates`."""
        return {"temperature": self.temperature, "balance": self.balance, "agreement": self.agreement}

    @model_serializer(mode="wrap")
    def _omit_if_empty(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write ``further_backbones`` only if there are any, so that digests of settings without them do not change."""
        return {key: value for key, value in dump(self).items() if value or key != "further_backbones"}


class MaskConfig(Settings):
    """The structure mask.

    ``feather`` is the standard deviation of the blur that softens the edges of the mask, as a fraction of the structure
    image's shorter side; 0: no blur.
    """

    feather: float = Field(default=0.004, ge=0, le=0.1)
