"""Backbones for names that nobody lists."""

from __future__ import annotations

from tests.plugins.conftest import Shelf, backbone_for, message
from vitsplice.errors import PluginConflict, UnknownName, UserError
from vitsplice.plugins import catalogue


def test_a_backbone_is_made_for_a_name(shelf: Shelf) -> None:
    shelf.add("maker", backbone_for("backbone(name) if name.startswith('made:') else None"))
    assert catalogue().backbone("made:X").name == "made:X"
    assert "no backbone 'other:x'" in message(UnknownName, "other:x")


def test_a_listed_backbone_comes_before_a_made_one(shelf: Shelf) -> None:
    shelf.add("maker", backbone_for("backbone('made')"))
    assert catalogue().backbone("vgg19").name == "vgg19"


def test_a_maker_that_raises_is_told_only_if_no_other_answers(shelf: Shelf) -> None:
    shelf.add("angry", backbone_for("[][1]"))
    shelf.add("maker", backbone_for("backbone(name) if name.startswith('made:') else None"))
    assert catalogue().backbone("made:x").name == "made:x"
    said = message(UnknownName, "other:x")
    assert "Plugin 'angry' failed when asked for it: IndexError: list index out of range" in said


def test_a_maker_that_exits_or_answers_rubbish_is_told(shelf: Shelf) -> None:
    shelf.add("leaver", backbone_for("exit(1)"))
    shelf.add("liar", backbone_for("loss(name)"))
    said = message(UnknownName, "other:x")
    assert "Plugin 'leaver' failed when asked for it: SystemExit: 1" in said
    assert "vitsplice_backbone_for returned a LossSpec, not a BackboneSpec" in said


def test_a_makers_own_error_is_passed_on(shelf: Shelf) -> None:
    code = """
    @hookimpl
    def vitsplice_backbone_for(name):
        if name.startswith("clip:"):
            raise UserError("clip has no such tower")
    """
    shelf.add("angry", backbone_for("[][1]"))
    shelf.add("clip", code)
    assert message(UserError, "clip:x") == "clip has no such tower"


def test_two_makers_of_one_name_are_in_conflict(shelf: Shelf) -> None:
    shelf.add("one", backbone_for("backbone(name)"))
    shelf.add("two", backbone_for("backbone(name)"))
    said = message(PluginConflict, "any")
    assert "vitsplice-one and vitsplice-two each give a backbone 'any'" in said
