"""Contract of presets (`vitsplice.contracts.PresetSpec`)."""

from __future__ import annotations

from typing import ClassVar

import yaml

from vitsplice.config import RunConfig
from vitsplice.contracts import PresetSpec
from vitsplice.engine.problem import check_parts
from vitsplice.plugins import catalogue
from vitsplice.presets.loading import load
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
        backbones = [settings.get("backbone") or {}, *(settings.get("backbones") or {}).values()]
        assert not any("weights" in one for one in backbones), "remove `backbone.weights`: it depends on the machine"

    def test_parts_are_registered(self) -> None:
        """Backbones, generator and loss terms are registered, and accept the options in the YAML."""
        settings, registered = self.settings(), catalogue()
        for backbone in settings.backbones.values():
            registered.backbones[backbone.name]  # raises UnknownName
        check_parts(settings, registered)
