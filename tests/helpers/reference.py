"""Generate docs/reference.md from the code: hooks, built-in parts, commands, the Python interface.

python tests/helpers/reference.py docs/reference.md
"""

import argparse
import html
import inspect
import re
from importlib import import_module
from pathlib import Path

import typer

from vitsplice import builtin, errors, hookspecs

PUBLIC = (
    "vitsplice",
    "vitsplice.loss_modules",
    "vitsplice.losses.functional",
    "vitsplice.matching",
    "vitsplice.images",
    "vitsplice.keypoints",
    "vitsplice.plugins",
    "vitsplice.testing",
)
"""The modules whose ``__all__`` is the Python interface."""

LONGEST_SIGNATURE = 400
"""Maximum length in characters of a signature that is shown with types and defaults."""

HEAD = """# Reference

Generated from the code by `make docs`. `vitsplice list KIND` lists the parts of all installed plugins.
"""


def cell(value):
    """Format a cell of a Markdown table.

    Code with a pipe becomes ``<code>`` with an entity: GitHub needs pipes escaped even in code, and the site
    (Python-Markdown) would show the backslash.
    """
    text = str(value).replace("\n", " ")
    code = re.compile(r"`([^`]*\|[^`]*)`")
    text = code.sub(lambda match: f"<code>{html.escape(match[1], quote=False).replace('|', '&#124;')}</code>", text)
    return text.replace("|", "\\|")


def table(head, rows):
    return "\n".join(f"| {' | '.join(map(cell, row))} |" for row in [head, ["---"] * len(head), *rows])


def options(spec):
    return "<br>".join(f"`{name}`={option.default}: {option.help}" for name, option in spec.options.items()) or "-"


def hooks():
    functions = [hook for name, hook in vars(hookspecs).items() if name.startswith("vitsplice_")]
    rows = [(f"`{f.__name__}{inspect.signature(f)}`".replace("'", ""), inspect.getdoc(f)) for f in functions]
    return table(["hook", "returns"], rows)


def backbones():
    head = ["name", "stride", "size", "parameters", "licence", "weights", "network"]
    rows = [
        (f"`{s.name}`", s.stride, s.image_size, f"{s.parameters / 1e6:.1f} M", s.licence, s.source, s.summary)
        for s in builtin.vitsplice_backbones()
    ]
    return table(head, rows)


def losses():
    rows = [(f"`{s.name}`", s.summary, f"{s.target} image", options(s)) for s in builtin.vitsplice_losses()]
    return table(["name", "description", "default target", "options"], rows)


def generators():
    rows = [(f"`{s.name}`", s.summary, "yes" if s.canvas else "no", options(s)) for s in builtin.vitsplice_generators()]
    return table(["name", "description", "canvas", "options"], rows)


def conditional_generators():
    specs = builtin.vitsplice_conditional_generators()
    rows = [(f"`{s.name}`", s.summary, ", ".join(s.conditions), options(s)) for s in specs]
    return table(["name", "description", "conditions", "options"], rows)


def metrics():
    rows = [(f"`{spec.name}`", spec.summary, spec.better, spec.against) for spec in builtin.vitsplice_metrics()]
    return table(["name", "description", "better", "against"], rows)


def presets():
    return table(["name", "description"], [(f"`{s.name}`", s.summary) for s in builtin.vitsplice_presets()])


def executors():
    return table(["name", "description"], [(f"`{s.name}`", s.summary) for s in builtin.vitsplice_executors()])


def commands():
    sections = []
    for spec in builtin.vitsplice_commands():
        app = spec.command
        if not isinstance(app, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command(spec.name)(spec.command)
        command = typer.main.get_command(app)
        subcommands = getattr(command, "commands", {})
        if not subcommands or command.invoke_without_command:
            sections.append(command_section(spec.name, command))
        sections += [command_section(f"{spec.name} {name}", inner) for name, inner in subcommands.items()]
    return "\n\n".join(sections)


def command_section(name, command):
    rows = []
    for parameter in command.params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        if parameter.param_type_name == "argument":
            label = parameter.metavar or parameter.name.upper()
        else:
            label = ", ".join([*parameter.opts, *parameter.secondary_opts])
        rows.append((f"`{label}`", parameter.help or "", default_of(parameter)))
    parameter_table = f"\n\n{table(['', '', 'default'], rows)}" if rows else ""
    return f"### `vitsplice {name}`\n\n{' '.join((command.help or '').split())}{parameter_table}"


def default_of(parameter):
    if parameter.required:
        return "required"
    return "" if parameter.default in (None, "", []) or parameter.default is False else f"`{parameter.default}`"


class Unquoted(str):
    """An annotation whose representation has no quotes."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


def unquoted(annotation):
    return Unquoted(annotation) if isinstance(annotation, str) else annotation


def signature(value):
    """Format the signature of a function or class; "" for other values.

    If this would be longer than `LONGEST_SIGNATURE` or show a memory address, give only the names of the parameters.
    """
    if not callable(value):
        return ""
    try:
        own = inspect.signature(value)
    except ValueError:
        return "(...)"
    parameters = [p.replace(annotation=unquoted(p.annotation)) for p in own.parameters.values()]
    returns = Unquoted(own.return_annotation) if inspect.isfunction(value) else inspect.Signature.empty
    text = str(inspect.Signature(parameters, return_annotation=returns))
    return text if len(text) <= LONGEST_SIGNATURE and " at 0x" not in text else f"({', '.join(own.parameters)})"


def summary(value):
    if not callable(value):
        return f"`{value!r}`" if len(repr(value)) < 80 else f"a {type(value).__name__}"
    return (inspect.getdoc(value) or "").split("\n\n")[0]


def module_section(name):
    module = import_module(name)
    members = {member: getattr(module, member) for member in sorted(module.__all__)}
    rows = [(f"`{member}{signature(value)}`", summary(value)) for member, value in members.items()]
    about = (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")
    return f"### `{name}`\n\n{about}\n\n{table(['name', 'description'], rows)}"


def error_section():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.VitspliceError)]
    rows = [(f"`{c.__name__}`", ", ".join(base.__name__ for base in c.__bases__), summary(c)) for c in classes]
    return f"### `vitsplice.errors`\n\n{table(['name', 'base classes', 'raised when'], rows)}"


def text():
    parts = {
        "Hooks": hooks(),
        "Backbones": backbones(),
        "Loss terms": losses(),
        "Generators": generators(),
        "Conditional generators": conditional_generators(),
        "Metrics": metrics(),
        "Presets": presets(),
        "Executors": executors(),
        "Commands": commands(),
        "Python": "\n\n".join([*map(module_section, PUBLIC), error_section()]),
    }
    return HEAD + "".join(f"\n## {title}\n\n{part}\n" for title, part in parts.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="Markdown file to write")
    parser.parse_args().file.write_text(text())
