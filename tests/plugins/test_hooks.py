"""A plugin that violates the contract is dropped, and the others are used."""

from __future__ import annotations

import pytest

from tests.plugins.conftest import GOOD, PANIC, Shelf, assert_only_this_plugin_fails, backbones, record, returning
from vitsplice.plugins import catalogue


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import there_is_no_such_module", "No module named 'there_is_no_such_module'"),
        ("raise ValueError('\\x1b[31mred')", "ValueError: [31mred"),
        (
            "@hookimpl\ndef vitsplice_backbone(): return []",
            "there is no hook vitsplice_backbone. Did you mean vitsplice_backbones?",
        ),
        ("@hookimpl\ndef losses(): return []", "there is no hook losses"),
        ("@hookimpl\ndef vitsplice_losses(device): return []", "Argument(s) {'device'}"),
        ("def vitsplice_losses(): return []", "vitsplice_losses is not marked"),
        (backbones("None"), "vitsplice_backbones returned None, not a list"),
        (backbones("(backbone('a'),)"), "vitsplice_backbones returned a tuple, not a list"),
        (backbones("['a']"), "vitsplice_backbones returned a str in its list, not a BackboneSpec"),
        (backbones("[loss('a')]"), "returned a LossSpec in its list, not a BackboneSpec"),
        (backbones("[backbone('a'), backbone('a')]"), "vitsplice_backbones lists 'a' twice"),
        (backbones("[backbone('')]"), "'' is not a valid name"),
        (backbones("[backbone('ViT')]"), "'ViT' is not a valid name"),
        (backbones("[backbone('vit b')]"), "'vit b' is not a valid name"),
        (backbones("[backbone('vit\\n')]"), "is not a valid name"),
        (backbones("[backbone(8)]"), "8 is not a valid name"),
        (backbones("1 / 0"), "vitsplice_backbones raised ZeroDivisionError"),
        (backbones("exit(1)"), "vitsplice_backbones raised SystemExit: 1"),
        (PANIC + "raise Panic('no')", "Panic: no"),
        (PANIC + backbones("panic()"), "vitsplice_backbones raised Panic: no"),
        (backbones("[BackboneSpec('a', print, 's', 'MIT', 'web', stride='8')]"), "stride='8' of 'a' is not allowed"),
        (backbones("[BackboneSpec('a', print, 's', None, 'web')]"), "licence=None of 'a' is not allowed"),
        (returning("losses", "LossSpec('a', 3, 's', 'structure', 'structure')"), "build=3 of 'a' is not allowed"),
        (
            returning("losses", "LossSpec('a', print, 's', 'structure', 'structure', {'scale': 1.0})"),
            "vitsplice_losses: options={'scale': 1.0} of 'a' is not allowed; it must be a mapping of names to Option",
        ),
        (returning("generators", "GeneratorSpec('a', print, 's', {'o': Option([])})"), "of 'a' is not allowed"),
        (returning("generators", "GeneratorSpec('a', print, 's', {'o': Option(Path('x'))})"), "of 'a' is not allowed"),
        (returning("executors", "ExecutorSpec('a', print, 's', None)"), "options=None of 'a' is not allowed"),
        (
            returning("conditional_generators", "ConditionalGeneratorSpec('a', print, 's', (1, 2))"),
            "conditions=(1, 2) of 'a' is not allowed; it must be a tuple of names: cls, appearance, start, warped",
        ),
        (returning("presets", "PresetSpec('a', '/tmp/x.yaml', 's')"), "path='/tmp/x.yaml' of 'a' is not allowed"),
        (returning("presets", "PresetSpec('a', Path('x'), None)"), "summary=None of 'a' is not allowed"),
        (returning("losses", "LossSpec('a', print, 's', 'structure', (1,))"), "target=(1,) of 'a' is not allowed"),
        (returning("losses", "LossSpec('a', print, 's', None, 'start')"), "it must be one of structure, appearance"),
        (returning("metrics", "MetricSpec('a', print, 's', over=(1,))"), "it must be one of pair, set"),
        (returning("metrics", "MetricSpec('a', print, 's', better=1)"), "it must be one of lower, higher"),
        (
            returning("metrics", "MetricSpec('a', print, 's', against=Path('x'))"),
            "one of structure, appearance, both, set",
        ),
        (returning("metrics", "MetricSpec('a', print, 's', max_pairs='9')"), "it must be an integer"),
        (returning("generators", "GeneratorSpec('a', print, 's', canvas=Path('x'))"), "it must be True or False"),
        (returning("generators", "GeneratorSpec('a', print, 's', {'o': Option(1, help=2)})"), "a text as help"),
        (returning("generators", "GeneratorSpec('a', print, 's', {'o': Option(1, choices=2)})"), "a tuple of choices"),
        (
            returning("generators", "GeneratorSpec('a', print, 's', {'o': Option(1, minimum='0')})"),
            "as minimum and maximum (None",
        ),
        (returning("generators", "GeneratorSpec('a', print, 's', {'o': Option('x', maximum=1)})"), "list of numbers)"),
        (
            returning("generators", "GeneratorSpec('a', print, 's', {'o': Option([{}], minimum=0)})"),
            "as minimum and maximum (None",
        ),
        (
            returning("generators", "GeneratorSpec('a', print, 's', {'o': Option(1, choices=(2,))})"),
            "the default among",
        ),
        (
            returning("presets", "PresetSpec('a', Path('x'), 's', 5)"),
            "command=5 of 'a' is not allowed; it must be a text",
        ),
    ],
)
def test_invalid_plugin_is_dropped_with_a_reason_and_others_work(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    monkeypatch.setenv("VITSPLICE_PLUGINS", "good,broken")
    shelf.add("good", GOOD)
    shelf.add("broken", code)
    known = assert_only_this_plugin_fails("broken", reason)
    assert set(known.commands) == {"run", "paint"}


def test_plugin_may_import_the_hookspecs(shelf: Shelf) -> None:
    shelf.add("star", "from vitsplice.hookspecs import vitsplice_losses\n" + backbones("[backbone('star')]"))
    assert record("star").failure is None
    assert catalogue().backbones["star"].name == "star"


def test_plugin_may_list_names_that_it_loads_when_they_are_used(shelf: Shelf) -> None:
    shelf.add("good", GOOD + "\ndef __dir__(): return [*globals(), 'Heavy']\n")
    assert record("good").failure is None


@pytest.mark.parametrize("raised", ["RuntimeError", "SystemExit"])
def test_error_whose_message_fails_does_not_affect_other_plugins(shelf: Shelf, raised: str) -> None:
    shelf.add("good", GOOD)
    silent = f"class Silent(Exception):\n    def __str__(self): raise {raised}('no text')\n"
    shelf.add("silent", silent + "raise Silent")
    known = assert_only_this_plugin_fails("silent", ": Silent")
    assert "no text" not in str(record("silent").failure)
    assert known.backbones["clip-vitb16"].source == "nowhere"


@pytest.mark.parametrize(
    "code", ["raise KeyboardInterrupt", backbones("stop()") + "def stop(): raise KeyboardInterrupt"]
)
def test_interrupt_while_a_plugin_loads_is_raised(shelf: Shelf, code: str) -> None:
    shelf.add("slow", code)
    with pytest.raises(KeyboardInterrupt):
        catalogue()
