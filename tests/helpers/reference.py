"""Writes docs/reference.md out of the code: hooks, built-in parts with their facts, commands, the Python interface.

python tests/helpers/reference.py docs/reference.md
"""

import inspect
import sys
from importlib import import_module
from pathlib import Path

import typer

from vitsplice import errors, hookspecs
from vitsplice.builtin import (
    vitsplice_backbones,
    vitsplice_commands,
    vitsplice_generators,
    vitsplice_losses,
    vitsplice_presets,
)

PUBLIC = (
    "vitsplice",
    "vitsplice.losses",
    "vitsplice.matching",
    "vitsplice.images",
    "vitsplice.keypoints",
    "vitsplice.plugins",
    "vitsplice.testing",
)
"""The modules whose ``__all__`` is the Python interface."""

LONGEST = 400
"""Characters of a signature with its types and defaults."""

HEAD = """# Reference

Made by `make docs`; a test fails when it is stale. `vitsplice list` shows the same of what is installed.
"""


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )


def hooks():
    found = [(name, hook) for name, hook in vars(hookspecs).items() if name.startswith("vitsplice_")]
    return table(
        ["hook", "gives"],
        [(f"`{name}{inspect.signature(hook)}`".replace("'", ""), inspect.getdoc(hook)) for name, hook in found],
    )


def backbones():
    rows = [
        (
            f"`{spec.name}`",
            spec.stride,
            spec.side,
            f"{spec.parameters / 1e6:.1f} M",
            spec.licence,
            spec.source,
            spec.summary,
        )
        for spec in vitsplice_backbones()
    ]
    return table(["name", "patch", "size", "parameters", "licence", "weights", "what it is"], rows)


def options(spec):
    return "<br>".join(f"`{name}`={option.default}: {option.help}" for name, option in spec.options.items()) or "-"


def losses():
    rows = [(f"`{s.name}`", s.summary, f"{s.target} image", options(s)) for s in vitsplice_losses()]
    return table(["name", "what it is", "compares with", "options"], rows)


def generators():
    rows = [(f"`{s.name}`", s.summary, "yes" if s.canvas else "no", options(s)) for s in vitsplice_generators()]
    return table(["name", "what it is", "canvas", "options"], rows)


def presets():
    return table(["name", "what it is"], [(f"`{spec.name}`", spec.summary) for spec in vitsplice_presets()])


def commands():
    sections = []
    for spec in vitsplice_commands():
        app = spec.command
        if not isinstance(app, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command(spec.name)(spec.command)
        command = typer.main.get_command(app)
        inner = getattr(command, "commands", None)
        found = {f"{spec.name} {name}": one for name, one in inner.items()} if inner else {spec.name: command}
        sections += [section(name, one) for name, one in found.items()]
    return "\n\n".join(sections)


def section(name, command):
    rows = []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        is_argument = parameter.param_type_name == "argument"
        shown = parameter.name.upper() if is_argument else ", ".join(parameter.opts)
        default = "" if parameter.default in (None, False, "", []) or parameter.required else f"`{parameter.default}`"
        rows.append((f"`{shown}`", parameter.help or "", default))
    text = " ".join((command.help or "").split())
    return f"### `vitsplice {name}`\n\n{text}" + (f"\n\n{table(['', '', 'default'], rows)}" if rows else "")


class Bare(str):
    """An annotation that is shown without quotes."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


def signature(value):
    """The arguments of a function or class, with types and defaults where those are short."""
    if not callable(value):
        return ""
    try:
        found = inspect.signature(value)
    except ValueError:
        return "(...)"
    parameters = [
        p.replace(annotation=Bare(p.annotation) if isinstance(p.annotation, str) else p.annotation)
        for p in found.parameters.values()
    ]
    returns = Bare(found.return_annotation) if inspect.isfunction(value) else inspect.Signature.empty
    text = str(inspect.Signature(parameters, return_annotation=returns))
    return text if len(text) < LONGEST and " at 0x" not in text else f"({', '.join(found.parameters)})"


def first_line(value):
    if not callable(value):
        return f"`{value!r}`" if len(repr(value)) < 80 else f"a {type(value).__name__}"
    return (inspect.getdoc(value) or "").split("\n\n")[0]


def module(name):
    found = import_module(name)
    rows = [
        (f"`{one}{signature(getattr(found, one))}`", first_line(getattr(found, one))) for one in sorted(found.__all__)
    ]
    about = (inspect.getdoc(found) or "").split("\n\n")[0].replace("\n", " ")
    return f"### `{name}`\n\n{about}\n\n{table(['name', 'what it is'], rows)}"


def error_classes():
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.VitspliceError)]
    rows = [(f"`{one.__name__}`", one.__base__.__name__, first_line(one)) for one in found]
    return f"### `vitsplice.errors`\n\n{table(['name', 'is a', 'when it is raised'], rows)}"


def python_api():
    return "\n\n".join([*map(module, PUBLIC), error_classes()])


def text():
    parts = {
        "Hooks": hooks(),
        "Backbones": backbones(),
        "Loss terms": losses(),
        "Generators": generators(),
        "Presets": presets(),
        "Commands": commands(),
        "Python": python_api(),
    }
    return HEAD + "".join(f"\n## {title}\n\n{part}\n" for title, part in parts.items())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text())
