"""Calls of a plugin's hooks, and checks of what they return."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Sequence
from pathlib import Path

import pluggy

from vitsplice import hookspecs
from vitsplice.contracts import BackboneSpec
from vitsplice.errors import INTERRUPTS
from vitsplice.plugins.fields import InvalidPlugin, check_fields
from vitsplice.plugins.kinds import Spec
from vitsplice.plugins.sandbox import TookTooLong
from vitsplice.text import did_you_mean, one_line, truncate, type_with_article

NAME = re.compile(r"[a-z0-9][a-z0-9._:/@+-]*")
"""Pattern of the name of a spec."""

LOADERS = ("importlib.", "pluggy.", "vitsplice.plugins.")
"""Prefixes of the modules that load plugins and call their hooks. They are never reported as the place of a failure."""


def failure_reason(error: BaseException) -> str:
    """Return the reason why a plugin failed, on one line."""
    if isinstance(error, (InvalidPlugin, pluggy.PluginValidationError, TookTooLong)):
        return one_line(str(error))
    return one_line(f"{type(error).__name__}: {_message(error)}".removesuffix(": "))


def _message(error: BaseException) -> str:
    """Return the message of an exception, or "" if its own code fails to give one."""
    try:
        return str(error)
    except (*INTERRUPTS, TookTooLong):
        raise
    except BaseException:
        return ""


def located_reason(error: BaseException, entry_point: str) -> str:
    """Return where and why a plugin failed to load.

    The place is omitted for a violation of the contract, whose reason names the hook or the entry point, and for a
    syntax error in a file, whose reason names file and line.

    Args:
        error: exception that ended the loading or a hook.
        entry_point: value of the plugin's entry point; "" if it has none.
    """
    raised = error.__cause__ if isinstance(error, InvalidPlugin) else error
    in_file = isinstance(raised, SyntaxError) and Path(raised.filename or "").is_file()
    if raised is None or in_file or not entry_point or isinstance(raised, pluggy.PluginValidationError):
        return failure_reason(error)
    place = place_of(raised, re.split(r"[.:\s]", entry_point)[0]) or f"entry point {entry_point}"
    return f"{place}: {failure_reason(error)}"


def place_of(error: BaseException, package: str) -> str:
    """Return file and line of the innermost frame in a package, or else of the innermost frame outside `LOADERS`.

    Args:
        error: a raised exception.
        package: name of the top-level package or module.

    Returns:
        Such as "vitsplice_mine.py, line 5"; "" if only `LOADERS` were running.
    """
    frames = [
        (str(frame.f_globals.get("__name__")), Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    frames = [frame for frame in frames if not f"{frame[0]}.".startswith(LOADERS)]
    own = [frame for frame in frames if frame[0].partition(".")[0] == package]
    if not frames:
        return ""
    _, path, line = (own or frames)[-1]
    return f"{'/'.join(path.parts[-2:]) if path.stem == '__init__' else path.name}, line {line}"


def manager_of(plugin: object) -> pluggy.PluginManager:
    """Return a manager of this plugin alone. Raises InvalidPlugin if it is None or has an unmarked or unknown hook."""
    if plugin is None:
        raise InvalidPlugin("its entry point is None, not a module or an object with hooks")
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    _check_marked(manager, plugin)
    manager.register(plugin)
    _check_known(manager, plugin)
    return manager


def _check_marked(manager: pluggy.PluginManager, plugin: object) -> None:
    for name in (name for name in dir(plugin) if name.startswith("vitsplice_")):
        function = inspect.getattr_static(plugin, name, None)
        if not inspect.isroutine(function):
            continue
        is_hookspec = function is getattr(hookspecs, name, None)  # a plugin may import one
        if not is_hookspec and manager.parse_hookimpl_opts(plugin, name) is None:
            raise InvalidPlugin(f"{name} is not marked: put @hookimpl (from vitsplice.hookspecs) before it")


def _check_known(manager: pluggy.PluginManager, plugin: object) -> None:
    known = [name for name in vars(hookspecs) if name.startswith("vitsplice_")]
    for caller in manager.get_hookcallers(plugin) or []:
        if not caller.has_spec() and not all(hook.optionalhook for hook in caller.get_hookimpls()):
            raise InvalidPlugin(f"there is no hook {caller.name}.{did_you_mean(caller.name, known)}")


def call_hook(manager: pluggy.PluginManager, hook: str) -> list[object]:
    """Call all implementations of a listing hook, and concatenate what they return."""
    items: list[object] = []
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        try:
            returned = implementation.function()
        except (*INTERRUPTS, TookTooLong):
            raise
        except BaseException as error:
            raise InvalidPlugin(f"{hook} raised {failure_reason(error)}") from error
        if not isinstance(returned, list):
            raise InvalidPlugin(f"{hook} returned {type_with_article(returned)}, not a list")
        items += returned
    return items


def checked_specs(items: Sequence[object], hook: str, expected: type[Spec]) -> tuple[Spec, ...]:
    """Return the items of a hook. Raises InvalidPlugin unless they are valid specs of one class with unique names."""
    specs: dict[str, Spec] = {}
    for item in items:
        if not isinstance(item, expected):
            raise InvalidPlugin(f"{hook} returned {type_with_article(item)} in its list, not a {expected.__name__}")
        if not isinstance(item.name, str) or not NAME.fullmatch(item.name):
            allowed = "lower case letters, digits and . _ : / @ + -, the first a letter or digit"
            raise InvalidPlugin(f"{hook}: {item.name!r} is not a valid name ({allowed})")
        if item.name in specs:
            raise InvalidPlugin(f"{hook} lists '{item.name}' twice")
        check_fields(item, hook)
        specs[item.name] = item
    return tuple(specs.values())


def call_backbone_for(manager: pluggy.PluginManager, name: str) -> BackboneSpec | None:
    """Ask one plugin for a backbone of a name that no plugin lists; return None if the plugin has none.

    Raises InvalidPlugin if the answer is not a valid spec of that name.
    """
    answers = manager.hook.vitsplice_backbone_for(name=name)
    if not answers:
        return None
    if not isinstance(answers[0], BackboneSpec):
        raise InvalidPlugin(f"vitsplice_backbone_for returned {type_with_article(answers[0])}, not a BackboneSpec")
    if answers[0].name != name:
        given = truncate(repr(answers[0].name))
        raise InvalidPlugin(f"vitsplice_backbone_for returned a spec named {given}, not {truncate(repr(name))}")
    check_fields(answers[0], "vitsplice_backbone_for")
    return answers[0]
