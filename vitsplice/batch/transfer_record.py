"""The record of the outputs of models in a folder, which tells an evaluation what the models were trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitsplice.models.model import Model
from vitsplice.support import output_folder
from vitsplice.support.files import file_sha256, read_json_object

RECORD, FORMAT = "apply.json", 1
"""File that names the model and images of each output in a folder, and the version of its format."""


@dataclass
class TransferRecord:
    """The file `RECORD` of a folder: models by their digests, and outputs by their names."""

    folder: Path
    model: Model
    models: dict[str, Any]
    outputs: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, model: Model) -> TransferRecord:
        """Read the record of a folder; without one, or with one of another format, no output is known."""
        content = read_record(folder)
        return cls(folder, model, content["models"], content["outputs"])

    def holds(self, name: str, images: Mapping[str, Any]) -> bool:
        """Return whether the folder holds an output of the same model and images."""
        entry = self.outputs.get(name)
        try:
            return bool(
                entry
                and entry["model"] == self.model.record.digest
                and entry["images"] == images
                and entry["sha256"] == file_sha256(self.folder / name)
            )
        except (OSError, KeyError, TypeError):
            return False

    def add(self, name: str, images: Mapping[str, Any], seconds: float) -> None:
        """Add an output that was written, with the SHA-256 of its images and the seconds that it took."""
        self.models[self.model.record.digest] = self.model.record.provenance()
        self.outputs[name] = {
            "model": self.model.record.digest,
            "images": images,
            "seconds": round(seconds, 3),
            "sha256": file_sha256(self.folder / name),
        }

    def write(self) -> None:
        """Write the record, unless the folder has no outputs."""
        if self.outputs:
            content = {"format": FORMAT, "models": self.models, "outputs": self.outputs}
            output_folder.write(self.folder, {RECORD: (json.dumps(content, indent=2) + "\n").encode()})


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """Read ``models`` and ``outputs`` of the record of a folder; both are empty if there is none that can be read."""
    empty: dict[str, dict[str, Any]] = {"models": {}, "outputs": {}}
    content = read_json_object(folder / RECORD)
    valid = content.get("format") == FORMAT and all(isinstance(content.get(key), dict) for key in empty)
    return {key: content[key] for key in empty} if valid else empty


def model_of_output(output: Path) -> Mapping[str, Any] | None:
    """Return what the model of an output was trained with (`Model.provenance`); None if no record names the model."""
    content = read_record(output.parent)
    try:
        entry = content["outputs"][output.name]
        model: Mapping[str, Any] = content["models"][entry["model"]]
        return model if entry["sha256"] == file_sha256(output) else None
    except (KeyError, TypeError, OSError):
        return None
