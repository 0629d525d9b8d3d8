"""What every preset promises."""

from __future__ import annotations

from typing import ClassVar

import yaml

from vitsplice.config import RunConfig
from vitsplice.engine.problem import check_parts
from vitsplice.plugins import catalogue
from vitsplice.presets import loading as settings_yaml
from vitsplice.testing.contract import Contract


class PresetContract(Contract):
    """The checks of a preset: that its YAML is whole and that all it names is there."""

    kind: ClassVar[str] = "presets"

    def text(self) -> str:
        """Its YAML; override it to test one that is not registered."""
        return catalogue().presets[self.name].path.read_text(encoding="utf-8")

    def settings(self) -> RunConfig:
        """Its settings."""
        return settings_yaml.load(self.text(), f"preset '{self.name}'")

    def test_its_yaml_is_valid_and_gives_itself_again(self) -> None:
        """Every key is known, every value allowed, and writing the settings and reading them changes nothing."""
        assert settings_yaml.load(self.settings().to_yaml(), "again") == self.settings(), "it is not the same again"

    def test_it_says_where_it_comes_from(self) -> None:
        """Its first line is a comment, and it has no machine's device or weights file in it."""
        assert self.text().lstrip().startswith("#"), "begin it with a comment: what it is, and its source"
        given = yaml.safe_load(self.text())
        assert "device" not in given, "leave the device to the machine it runs on"
        assert "weights" not in (given.get("backbone") or {}), "a preset does not name a file of weights"

    def test_what_it_names_is_there(self) -> None:
        """Its backbone, generator and loss terms are registered, with the options that it gives them."""
        settings, known = self.settings(), catalogue()
        known.backbones[settings.backbone.name]
        check_parts(settings, known)
