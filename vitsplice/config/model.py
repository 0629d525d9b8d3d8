"""Settings of the trained model that a run starts from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from vitsplice.config.settings import Settings


class ModelConfig(Settings):
    """A trained model; the text FOLDER is short for ``{folder: FOLDER}``.

    Args:
        folder: model folder. A relative path is resolved against the working directory, or in a preset against the
            folder of the preset.
        sha256: digest of the model (`vitsplice.presets.model_folder.ModelRecord.digest`); any other model is refused.
    """

    folder: Path
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="before")
    @classmethod
    def _read_folder(cls, data: Any) -> Any:
        return {"folder": data} if isinstance(data, str | Path) else data

    @field_validator("folder")
    @classmethod
    def _make_absolute(cls, folder: Path) -> Path:
        return Path(os.path.abspath(folder))
