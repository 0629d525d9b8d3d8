"""Whether a plugin keeps the contract: its hooks, and what they return."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

import pluggy

from vitsplice import hookspecs
from vitsplice.contracts import BackboneSpec
from vitsplice.plugins.kinds import Spec
from vitsplice.plugins.wording import a, did_you_mean
from vitsplice.text import one_line

NAME = re.compile(r"[a-z0-9][a-z0-9._:/@+-]*")
"""What the name of a backbone, loss term, generator, metric, preset, executor or command looks like."""

ANYTHING = (Exception, SystemExit)
"""What a plugin's code may raise without harm to the others."""


class Rubbish(Exception):
    """A plugin breaks the contract; the message is the reason for its record."""


def reason(error: BaseException) -> str:
    """Why a plugin failed, on one line."""
    if isinstance(error, (Rubbish, pluggy.PluginValidationError)):
        return one_line(str(error))
    return one_line(f"{type(error).__name__}: {error}".removesuffix(": "))


def registered(plugin: object) -> pluggy.PluginManager:
    """A manager that knows our hooks and this plugin alone; every hook of the plugin is checked."""
    if plugin is None:
        raise Rubbish("its entry point leads to None, not to a module or an object with hooks")
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    _refuse_unmarked(manager, plugin)
    manager.register(plugin)
    _refuse_unknown(manager, plugin)
    return manager


def _refuse_unmarked(manager: pluggy.PluginManager, plugin: object) -> None:
    for name in dir(plugin):
        function = inspect.getattr_static(plugin, name)
        if not name.startswith("vitsplice_") or not inspect.isroutine(function):
            continue
        imported = function is getattr(hookspecs, name, None)
        if not imported and manager.parse_hookimpl_opts(plugin, name) is None:
            raise Rubbish(f"{name} is not marked: put @hookimpl (from vitsplice.hookspecs) before it")


def _refuse_unknown(manager: pluggy.PluginManager, plugin: object) -> None:
    known = [name for name in vars(hookspecs) if name.startswith("vitsplice_")]
    for caller in manager.get_hookcallers(plugin) or []:
        if not caller.has_spec() and not all(hook.optionalhook for hook in caller.get_hookimpls()):
            raise Rubbish(f"there is no hook {caller.name}{did_you_mean(caller.name, known)}")


def called(manager: pluggy.PluginManager, hook: str) -> list[object]:
    """What a plugin's implementations of a hook return, together."""
    together: list[object] = []
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        try:
            given = implementation.function()
        except ANYTHING as error:
            raise Rubbish(f"{hook} raised {reason(error)}") from error
        if not isinstance(given, list):
            raise Rubbish(f"{hook} returned {a(given)}, not a list")
        together += given
    return together


def checked(given: Sequence[object], hook: str, expected: type[Spec]) -> tuple[Spec, ...]:
    """What a hook returned, if those are specs with names, and no name comes twice."""
    specs: dict[str, Spec] = {}
    for item in given:
        if not isinstance(item, expected):
            raise Rubbish(f"{hook} returned {a(item)} in its list, not a {expected.__name__}")
        if not isinstance(item.name, str) or not NAME.fullmatch(item.name):
            raise Rubbish(f"{hook}: {item.name!r} is no name (lower case letters, digits and . _ : / @ + -)")
        if item.name in specs:
            raise Rubbish(f"{hook} gives '{item.name}' twice")
        specs[item.name] = item
    return tuple(specs.values())


def asked(manager: pluggy.PluginManager, name: str) -> BackboneSpec | None:
    """What one plugin answers to a backbone's name."""
    answers = manager.hook.vitsplice_backbone_for(name=name)
    if not answers:
        return None
    if not isinstance(answers[0], BackboneSpec):
        raise Rubbish(f"vitsplice_backbone_for returned {a(answers[0])}, not a BackboneSpec")
    return answers[0]
