"""Contract of presets (`vitsplice.contracts.PresetSpec`)."""

from __future__ import annotations

from typing import Any, ClassVar
from unittest import SkipTest

import yaml

from vitsplice.config import RunConfig
from vitsplice.contracts import PresetSpec
from vitsplice.engine.problem import check_parts
from vitsplice.errors import UnknownName
from vitsplice.plugins import catalogue
from vitsplice.plugins.registry import optional_plugin
from vitsplice.presets.loading import load, with_fallback
from vitsplice.testing.contract import Contract


class PresetContract(Contract[PresetSpec]):
    """Checks of a preset: its YAML is valid and states its source, and every part that it names is registered."""

    kind: ClassVar[str] = "presets"

    def text(self) -> str:
        """Return the YAML of the preset. Override this method to test a preset that is not registered."""
        return self.spec().path.read_text(encoding="utf-8")

    def settings(self) -> RunConfig:
        """Return the settings of the preset."""
        return load(self.text(), f"preset '{self.name}'")

    def test_yaml_is_valid(self) -> None:
        """Every key and value is valid, and the settings are unchanged after writing and reading them."""
        assert load(self.settings().to_yaml(), "written settings") == self.settings(), "the settings change"

    def test_yaml_states_its_source(self) -> None:
        """The first line is a comment, and the YAML names neither a device nor a weights file."""
        assert self.text().lstrip().startswith("#"), "the first line must be a comment with a description and a source"
        settings = yaml.safe_load(self.text())
        assert "device" not in settings, "remove `device`: it depends on the machine"
        files = [f"`{key}.weights`" for key, backbone in _backbones(settings).items() if "weights" in (backbone or {})]
        assert not files, f"remove {', '.join(files)}: weights files depend on the machine"

    def test_parts_are_registered(self) -> None:
        """Backbones and their fallbacks, generator and loss terms are registered, and accept the options in the YAML.

        This includes the settings of ``with_fallback``. All plugins whose parts the preset names must be installed; the
        check is skipped if the only unknown names are those of backbones of optional plugins of this project.
        """
        settings, registered = self.settings(), catalogue()
        missing = []
        for backbone in with_fallback(settings, f"preset '{self.name}'").backbones.values():
            for name in (backbone.name, *backbone.fallback):
                try:
                    registered.backbones[name]
                except UnknownName as error:
                    if not optional_plugin("backbone", name, registered.backbones):
                        raise
                    missing.append(str(error))
        check_parts(settings, registered)
        if missing:
            raise SkipTest("\n".join(missing))


def _backbones(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of each backbone by its dotted key, also those in ``with_fallback``."""
    backbones = {"backbone": settings.get("backbone")}
    for prefix, part in (("", settings), ("with_fallback.", settings.get("with_fallback") or {})):
        backbones |= {f"{prefix}backbones.{key}": value for key, value in (part.get("backbones") or {}).items()}
    return backbones
