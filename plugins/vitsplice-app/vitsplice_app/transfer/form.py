"""Settings of a run from the values of the form: a preset, its YAML as the user edited it, and other values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vitsplice.config import RunConfig
from vitsplice.plugins import catalogue
from vitsplice.presets import loading
from vitsplice_app.numbers import whole_number

AS_IN_PRESET = "as in the preset"
"""Value of the field Backbone with which the backbone in the YAML is used."""

UNCHANGED = 0
"""Value of the field Size with which images are not resized."""

Number = TypeVar("Number", int | None, float | None)

YAML = "YAML"
"""Name, in messages, of the origin of the settings."""


def form_settings(
    folder: Path,
    preset: str,
    yaml: str,
    backbone: str,
    structure_strength: float | None,
    appearance_strength: float | None,
    steps: float | None,
    size: float | None,
    seed: float | None,
) -> RunConfig:
    """Return the settings of a run: those in the YAML, changed by the fields that differ from the YAML.

    They are equal to the settings of `vitsplice run` with the same values. For a number that is None, the number in the
    YAML is used; for a field that was cleared, the browser sends 0, not None.

    Args:
        folder: folder that must contain the weights files and model folders that the YAML names.
        preset: name of the preset.
        yaml: the preset's YAML, as the user edited it.
        backbone: name of the backbone that replaces the first one in the YAML, or `AS_IN_PRESET`.
        structure_strength, appearance_strength, steps, seed: see `vitsplice.settings_for`.
        size: shorter side in pixels, or `UNCHANGED`.

    Raises:
        UserError: if a setting is invalid or not the whole number that is required, or a part that the YAML names does
            not exist.
    """
    from vitsplice.presets.settings import settings_for

    written = read_yaml(preset, yaml, folder)
    shorter_side = written.size if size is None else _whole("Size", size) or None
    return settings_for(
        written,
        backbone=None if backbone == AS_IN_PRESET else backbone,
        steps=_unless_equal(_whole("Steps", steps), written.steps),
        size=_unless_equal(shorter_side, written.size),
        seed=_unless_equal(_whole("Seed", seed), written.seed),
        structure_strength=_unless_equal(structure_strength, written.structure_strength),
        appearance_strength=_unless_equal(appearance_strength, written.appearance_strength),
        overrides=["size=null"] if shorter_side is None and written.size is not None else [],
    )


@dataclass(frozen=True)
class Sliders:
    """The settings that have sliders.

    Args:
        structure_strength, appearance_strength, steps, size, seed: as for `form_settings`, but never None.
        max_steps: maximum of the slider Steps; 0: the number of steps cannot be changed.
    """

    structure_strength: float
    appearance_strength: float
    steps: int
    max_steps: int
    size: int
    seed: int

    @classmethod
    def of(cls, settings: RunConfig) -> Sliders:
        """Return the values of the sliders. Without loss terms nothing is optimised, and ``max_steps`` is 0."""
        return cls(
            settings.structure_strength,
            settings.appearance_strength,
            settings.steps,
            max(100, 4 * settings.steps) if settings.terms else 0,
            settings.size or UNCHANGED,
            settings.seed,
        )


def preset_yaml(name: str) -> str:
    """Return a preset as YAML, with its comments. Raises ConfigError if its file cannot be read."""
    return loading.read_text(catalogue().presets[name].path)


def read_yaml(preset: str, text: str, folder: Path) -> RunConfig:
    """Read settings from the edited YAML of a preset, and check their parts. Raises the errors of `form_settings`."""
    from vitsplice.engine.problem import check_run

    settings = loading.load(text, YAML, folder=folder, allow_outside=False).model_copy(update={"preset": preset})
    check_run(settings, catalogue())
    return settings


def _whole(label: str, value: float | None) -> int | None:
    return None if value is None else whole_number(label, value)


def _unless_equal(value: Number, written: Number) -> Number | None:
    """Return a value of the form, or None if it is equal to the value in the YAML.

    Numbers are compared as floats, because the browser rounds integers above 2**53.

    With None, `settings_for` uses the value in the YAML or, for a fallback backbone, that in ``with_fallback``.
    """
    if value is None or written is None:
        return value
    return None if float(value) == float(written) else value
