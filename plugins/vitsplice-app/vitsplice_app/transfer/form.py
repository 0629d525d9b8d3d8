"""Settings of a run from the values of the form: a preset, its YAML as it was edited, and other values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vitsplice.config import RunConfig
from vitsplice.plugins import catalogue
from vitsplice.presets import loading

AS_IN_PRESET = "as in the preset"
"""Value of the backbone that replaces none."""

UNCHANGED = 0
"""Value of the size with which images are not resized."""

Value = TypeVar("Value")

YAML = "YAML"
"""Origin of the settings in messages."""


@dataclass(frozen=True)
class Form:
    """Values of the form. A number is None if its field was cleared; that of the YAML is used then.

    Args:
        preset: name of the preset.
        yaml: the preset's YAML, as it was edited.
        backbone: name of the backbone that replaces the first of the preset, or `AS_IN_PRESET`.
        structure_strength, appearance_strength, steps, seed: see `vitsplice.settings_for`.
        size: likewise, or `UNCHANGED`.
    """

    preset: str
    yaml: str
    backbone: str
    structure_strength: float | None
    appearance_strength: float | None
    steps: int | None
    size: int | None
    seed: int | None

    def settings(self, folder: Path) -> RunConfig:
        """Return the settings, equal to those of the command line with the same values.

        Args:
            folder: folder that weights and models named by the YAML must be in.

        Raises:
            ConfigError: if a setting is invalid.
        """
        from vitsplice.presets.settings import settings_for

        written = read_yaml(self.preset, self.yaml, folder)
        size = written.size if self.size is None else _whole(self.size) or None
        return settings_for(
            written,
            backbone=None if self.backbone == AS_IN_PRESET else self.backbone,
            steps=_unless_equal(_whole(self.steps), written.steps),
            size=_unless_equal(size, written.size),
            seed=_unless_equal(_whole(self.seed), written.seed),
            structure_strength=_unless_equal(self.structure_strength, written.structure_strength),
            appearance_strength=_unless_equal(self.appearance_strength, written.appearance_strength),
            overrides=["size=null"] if size is None and written.size is not None else [],
        )


@dataclass(frozen=True)
class Sliders:
    """Values of a preset that have sliders.

    Args:
        structure_strength, appearance_strength, steps, size, seed: as in `Form`.
        most_steps: maximum of the slider of the steps; 0: the number of steps is fixed.
    """

    structure_strength: float
    appearance_strength: float
    steps: int
    most_steps: int
    size: int
    seed: int

    @classmethod
    def of(cls, settings: RunConfig) -> Sliders:
        """Return the values of settings. Without loss terms there is nothing to optimise, and the steps are fixed."""
        return cls(
            settings.structure_strength,
            settings.appearance_strength,
            settings.steps,
            max(100, 4 * settings.steps) if settings.terms else 0,
            settings.size or UNCHANGED,
            settings.seed,
        )


def preset_yaml(name: str) -> str:
    """Return a preset as YAML, with its comments."""
    return catalogue().presets[name].path.read_text(encoding="utf-8")


def read_yaml(preset: str, text: str, folder: Path) -> RunConfig:
    """Read the settings of a preset from its YAML as it was edited, and check its parts. See `Form.settings`."""
    from vitsplice.engine.problem import check_run

    settings = loading.load(text, YAML, folder=folder, allow_outside=False).model_copy(update={"preset": preset})
    check_run(settings, catalogue())
    return settings


def _whole(value: float | None) -> int | None:
    """Return the value of a number field, which may be a float such as 7.0, as an integer."""
    return None if value is None else int(value)


def _unless_equal(value: Value, written: Value) -> Value | None:
    """Return a value of the form, or None if the YAML has the same: its ``with_fallback`` may then replace it."""
    return None if value == written else value
