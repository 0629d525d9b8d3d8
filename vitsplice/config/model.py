"""Settings of a trained model, from which a run or a training starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import model_validator

from vitsplice.config.settings import AbsolutePath, Settings, Sha256


class ModelConfig(Settings):
    """A trained model; the text FOLDER is short for ``{folder: FOLDER}``.

    Args:
        folder: model folder. A relative path is resolved against the working directory, or, in a preset file given
            by its path, against the folder of that file.
        sha256: digest of the model (`vitsplice.presets.model_folder.ModelRecord.digest`); any other model is refused.
    """

    folder: AbsolutePath
    sha256: Sha256 | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_folder(cls, data: Any) -> Any:
        return {"folder": data} if isinstance(data, str | Path) else data
