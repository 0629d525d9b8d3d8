"""Choices of the page."""

from types import SimpleNamespace

import pytest
from vitsplice_app import choices

from vitsplice.errors import PluginConflict


@pytest.fixture(autouse=True)
def _without_weights_of_the_cnn(monkeypatch):
    monkeypatch.setattr(choices, "is_installed", lambda spec: spec.name != "tiny-cnn")


def test_labels_note_missing_weights_and_have_short_summaries():
    assert ("tiny-vit", "tiny-vit") in choices.backbone_choices()
    assert choices.backbone_choices()[-1] == ("tiny-cnn (not installed)", "tiny-cnn")
    assert ("instant: seconds, no optimisation", "instant") in choices.preset_choices()


def test_preset_is_described_by_its_summary():
    assert choices.about_preset("instant").startswith("seconds, no optimisation: transfers")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tiny-vit", "a tiny random ViT"),
        ("tiny-cnn", "a tiny random CNN; its weights come from random weights"),
        ("vit_base_patch16_224", "timm vit_base_patch16_224"),
        ("untrained-dino-vits16", "timm vit_small_patch16_224.dino, untrained"),
        ("untrained-nothing", "no backbone has this name"),
        ("", ""),
    ],
)
def test_backbone_is_described_with_the_source_of_missing_weights(name, text):
    assert choices.about_backbone(name) == text


def test_backbone_of_two_plugins_is_described_by_the_conflict(monkeypatch):
    class Registry(dict):
        def __missing__(self, name):
            raise PluginConflict(f"one and two each provide the backbone '{name}'\nUninstall one or two")

    monkeypatch.setattr(choices, "catalogue", lambda: SimpleNamespace(backbones=Registry()))
    assert choices.about_backbone("same") == "one and two each provide the backbone 'same'"
