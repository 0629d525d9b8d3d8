"""The record of a folder's outputs: which model made each output, from which images. Evaluations read it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from vitsplice.errors import UserError
from vitsplice.models.model import Model
from vitsplice.support import output_folder
from vitsplice.support.bounded_yaml import is_valid_text
from vitsplice.support.files import file_sha256
from vitsplice.support.folder_lock import FolderLock
from vitsplice.support.jsonl import JsonLinesLog, key_of, read_records
from vitsplice.text import printable

RECORD, FORMAT = "apply.jsonl", 1
"""File with a line for each output in a folder, and the version of its format."""


class TransferRecord:
    """The recorded outputs in a folder, to which those of a model are added. A context manager.

    Args:
        folder: output folder.
        model: model whose outputs are added.
        recorded: whether outputs are added to the file `RECORD`. The first output creates it and locks the folder.
    """

    def __init__(self, folder: Path, model: Model, *, recorded: bool) -> None:
        self.folder, self.model, self._recorded = folder, model, recorded
        self._outputs, self._resources = read_record(folder), ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._resources.close()

    @cached_property
    def _log(self) -> JsonLinesLog:
        output_folder.create(self.folder)
        self._resources.enter_context(FolderLock(self.folder))
        return self._resources.enter_context(JsonLinesLog(self.folder / RECORD, lambda record: key_of(record["name"])))

    def holds(self, name: str, images: Mapping[str, Any]) -> bool:
        """Return whether the folder holds an unchanged output of this name, computed by the model from these images."""
        entry = self._outputs.get(name, {})
        try:
            return bool(
                entry["model"]["sha256"] == self.model.record.digest
                and entry["images"] == images
                and entry["sha256"] == file_sha256(self.folder / name)
            )
        except (OSError, KeyError, TypeError):
            return False

    def check_name(self, name: str) -> None:
        """Raise UserError if an output of this name cannot be recorded, because the name is not UTF-8."""
        if self._recorded and not is_valid_text(name):
            raise UserError(
                f"the name {printable(name)} is not UTF-8, so the output cannot be recorded; rename its structure image"
            )

    def add(self, name: str, images: Mapping[str, Any], seconds: float, sha256: str) -> None:
        """Record an output before its file is written. The entry counts only while the file has this digest.

        Args:
            name: name of the output's file.
            images: digests of its images and masks, and weights of its appearance images (`Transfer.digests`).
            seconds: time that the output took.
            sha256: digest of its file.
        """
        if self._recorded:
            entry = {"format": FORMAT, "name": name, "model": self.model.record.provenance(), "images": images}
            self._log.add(key_of(name), entry | {"seconds": round(seconds, 3), "sha256": sha256})


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the last entry of each output in the record of a folder, by name of the output; {} without a record."""
    records = read_records(folder / RECORD)
    return {str(record.get("name")): record for record in records if record.get("format") == FORMAT}
