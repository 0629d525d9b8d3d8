"""Settings of a backbone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from vitsplice.config.settings import AbsolutePath, Name, Settings, Sha256

ONLY = "main"
"""Key of a backbone that settings give as ``backbone`` instead of in ``backbones``."""

_PIXELS: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=16, le=4096)])


def _read_side(side: Any) -> Any:
    try:
        return side if side is None or side == "view" else _PIXELS.validate_python(side)
    except ValidationError as error:
        raise ValueError("must be an integer from 16 to 4096, or view") from error


class BackboneConfig(Settings):
    """A backbone of a run, and its fallbacks.

    Args:
        name: name of the backbone.
        weights: weights file. A relative path is resolved against the working directory, or, in a preset file given
            by its path, against the folder of that file.
        sha256: SHA-256 of the weights file; any other file is refused.
        network_sha256: SHA-256 of the tensors of a loaded backbone (`BackboneInfo.sha256`); other weights are refused.
        fallback: names of backbones to try, in this order, if this one is unknown or its weights are unavailable; not
            used with ``weights``.
        side: size of the views that this backbone gets. A number: about ``side * side`` pixels; ``view``: the size of
            the view, rounded to a size that the backbone accepts; None: about the size of the stage or, in a run
            without stages, as set by ``resize``. In a stage on tiles, all sides act as ``view``.
        precision: precision of this backbone; None: that of the run.
    """

    name: Name
    weights: AbsolutePath | None = None
    sha256: Sha256 | None = None
    network_sha256: Sha256 | None = None
    fallback: tuple[Name, ...] = ()
    side: Annotated[int | Literal["view"] | None, BeforeValidator(_read_side)] = None
    precision: Literal["auto", "float32", "bfloat16"] | None = None

    @model_validator(mode="after")
    def _check_sha256(self) -> BackboneConfig:
        if self.sha256 and self.weights is None:
            raise ValueError("sha256 is the digest of a weights file; give this file in weights, too")
        return self
