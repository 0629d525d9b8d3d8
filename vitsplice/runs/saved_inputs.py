"""Inputs and settings of a run, saved in its folder so that the run can be resumed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vitsplice.config import RunConfig
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.errors import CheckpointRejected, ConfigError
from vitsplice.images import LoadedImage, read, read_mask
from vitsplice.presets import loading
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.checkpoints import CHANGEABLE_SETTINGS, fixed_settings
from vitsplice.runs.inputs import as_arguments, described, is_input_name, regions_from
from vitsplice.runs.record import versions
from vitsplice.runs.run import Run
from vitsplice.support.output_folder import REPLACE

FORMAT = 2
"""Format version of the inputs file."""


@dataclass(frozen=True)
class SavedInputs:
    """Settings, image files, weights and regions of a run: the content of the inputs file.

    Args:
        settings: requested settings.
        files: path and SHA-256 of each image and mask by name (`vitsplice.runs.inputs`).
        weights: weight of each appearance image; None: all are equal.
        appearances: number of the appearance image of each region, from 0.
    """

    settings: RunConfig
    files: Mapping[str, tuple[str, str]]
    weights: Sequence[float] | None
    appearances: Sequence[int]

    @classmethod
    def read(cls, folder: RunFolder) -> SavedInputs:
        """Read the inputs file of a run.

        Raises:
            CheckpointRejected: if the file is corrupt or of another format.
            UserError: if the folder holds no run that can be resumed.
        """
        inputs = folder.inputs()
        if inputs.get("format") != FORMAT:
            raise CheckpointRejected(
                f"the run in {folder.path} was begun by another version of vitsplice "
                f"({inputs.get('version', 'before 0.1')}, format {inputs.get('format', 1)}); this version reads format "
                f"{FORMAT}. Resume it with the version that began it, or begin a new run in that folder with ",
                REPLACE,
            )
        try:
            files = {name: (str(file["path"]), str(file["sha256"])) for name, file in inputs["images"].items()}
            required = {name: files[name] for name in ("structure", "appearance")}
            return cls(
                settings=loading.validate(inputs["settings"], f"{folder.path}"),
                files=required | {name: file for name, file in files.items() if is_input_name(name)},
                weights=None if inputs.get("weights") is None else [float(weight) for weight in inputs["weights"]],
                appearances=[int(number) for number in inputs.get("regions", ())],
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise CheckpointRejected(
                f"the inputs of the run in {folder.path} are corrupt; begin a new run in that folder with ", REPLACE
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Return the content of the inputs file."""
        files = {name: {"path": path, "sha256": sha256} for name, (path, sha256) in self.files.items()}
        settings = self.settings.model_dump(mode="json")
        content = {"format": FORMAT, "version": versions()["vitsplice"], "settings": settings, "images": files}
        if self.weights is not None:
            content["weights"] = list(self.weights)
        if self.appearances:
            content["regions"] = list(self.appearances)
        return content

    def with_overrides(self, overrides: Iterable[str]) -> SavedInputs:
        """Apply overrides to the settings. Raises ConfigError if they affect the output."""
        changed = loading.load(self.settings.to_yaml(), "settings", overrides)
        if fixed_settings(changed) != fixed_settings(self.settings):
            allowed = ", ".join(sorted(CHANGEABLE_SETTINGS))
            raise ConfigError(f"a run is resumed with its own settings; only {allowed} can be changed")
        return replace(self, settings=changed)

    def unchanged_images(self, folder: RunFolder) -> dict[str, LoadedImage]:
        """Read the images and masks by name. Raises CheckpointRejected if one has changed."""
        images = read_images({name: path for name, (path, _) in self.files.items()})
        for name, (_, sha256) in self.files.items():
            if images[name].sha256 != sha256:
                raise CheckpointRejected(
                    f"{images[name].name} is not the {described(name)} that the run in {folder.path} began with; "
                    "restore that image, or begin a new run in that folder with ",
                    REPLACE,
                )
        return images

    def run(self, images: Mapping[str, LoadedImage], backbones: BackboneLoader | None) -> Run:
        """Create the run; ``images``: images and masks by name. See `Run` for the backbones and the errors."""
        return Run(
            **as_arguments(images),
            settings=self.settings,
            appearance_weights=self.weights,
            regions=regions_from(images, self.appearances),
            backbones=backbones,
        )


def read_images(paths: Mapping[str, str | os.PathLike[str]]) -> dict[str, LoadedImage]:
    """Read images and masks by name (`vitsplice.runs.inputs`)."""
    return {name: read_mask(path) if name.endswith("mask") else read(path) for name, path in paths.items()}
