"""A plugin gives all that it lists, or nothing and a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.conftest import GOOD, Shelf, assert_only_it_is_lost, backbones, message, record
from vitsplice.errors import UnknownName
from vitsplice.plugins import PluginRecord, catalogue


def test_a_good_plugin_gives_all_it_lists(shelf: Shelf) -> None:
    shelf.add("good", GOOD)
    known = catalogue()
    assert record("good") == PluginRecord(
        "good",
        "vitsplice-good",
        "1.0",
        {
            "backbones": ("clip-vitb16",),
            "losses": ("gram",),
            "generators": ("kiting",),
            "presets": ("painting",),
            "metrics": ("blueness",),
            "executors": ("crowd",),
            "commands": ("paint",),
        },
    )
    assert known.backbone("clip-vitb16").source == "nowhere"
    assert known.loss("gram").target == "structure"
    assert known.generator("kiting").summary == "a generator"
    assert known.preset("painting").path == Path("painting")
    assert set(known.commands) == {"run", "paint"}
    assert not known.conflicts


def test_an_object_may_be_the_plugin(shelf: Shelf) -> None:
    code = """
    class Plugin:
        def __init__(self, name):
            self.name = name

        @hookimpl
        def vitsplice_backbones(self):
            return [backbone(self.name)]

        @hookimpl
        def vitsplice_backbone_for(self, name):
            return backbone(name) if name.startswith(self.name) else None

    plugin = Plugin("object")
    """
    shelf.add("thing", code, attribute=":plugin")
    assert record("thing").gives["backbones"] == ("object",)
    assert catalogue().backbone("object/large").name == "object/large"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("shelf_no_such_module", "No module named 'shelf_no_such_module'"),
        ("shelf_builtin:nothing", "AttributeError"),
        ("shelf_builtin:__cached_nothing__.x", "AttributeError"),
        ("json:decoder.NaN.nothing", "AttributeError"),
        ("shelf_none:plugin", "leads to None"),
    ],
)
def test_an_entry_point_that_leads_nowhere(shelf: Shelf, value: str, reason: str) -> None:
    shelf.add("good", GOOD)
    shelf.module("shelf_none", "plugin = None")
    shelf.entry_point("lost", value, "vitsplice-lost")
    assert_only_it_is_lost("lost", reason)


def test_all_of_a_broken_plugin_is_dropped(shelf: Shelf) -> None:
    shelf.add("half", backbones("[backbone('half-vit')]") + "@hookimpl\ndef vitsplice_losses(): return 5")
    assert record("half").hint == ("half-vit",)
    assert "half-vit" not in catalogue().backbones
    assert "returned an int, not a list" in message(UnknownName, "half-vit")


def test_broken_built_ins_do_not_take_the_others_along(shelf: Shelf) -> None:
    shelf.module("shelf_builtin", "raise ImportError('half an installation')")
    shelf.add("good", GOOD)
    assert record("vitsplice").failure == "ImportError: half an installation"
    assert catalogue().loss("gram").name == "gram"
    assert "half an installation" in message(UnknownName, "paper", "preset")


def test_what_a_plugin_prints_goes_to_standard_error(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.add("chatty", "print('hello')\n" + backbones("print('again') or []"))
    catalogue()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "hello\nagain\n"
