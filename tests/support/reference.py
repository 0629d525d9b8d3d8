"""Writes docs/reference.md out of the code: the hooks, the built-in parts with their facts, the commands.

python tests/support/reference.py docs/reference.md
"""

import inspect
import sys
from pathlib import Path

import typer

from vitsplice import hookspecs
from vitsplice.builtin import (
    vitsplice_backbones,
    vitsplice_commands,
    vitsplice_generators,
    vitsplice_losses,
    vitsplice_presets,
)

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


def text():
    parts = {
        "Hooks": hooks(),
        "Backbones": backbones(),
        "Loss terms": losses(),
        "Generators": generators(),
        "Presets": presets(),
        "Commands": commands(),
    }
    return HEAD + "".join(f"\n## {title}\n\n{part}\n" for title, part in parts.items())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text())
