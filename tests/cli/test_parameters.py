"""Messages about command line parameters, and their help."""

import re
from types import SimpleNamespace

import pytest
import typer
from typer.main import get_command

from vitsplice.cli.app import Commands, application
from vitsplice.contracts import CommandSpec


def leaves(command, words=()):
    """Yield the words of each command that is not a group, such as ("lut", "fit"), and its click command."""
    if not hasattr(command, "list_commands"):
        yield words, command
        return
    with typer.Context(command) as context:
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), (*words, name))


LEAVES = dict(leaves(get_command(application())))
WRITERS = {
    words: next(name for name in parameter.opts if name.startswith("--"))
    for words, command in LEAVES.items()
    for parameter in command.params
    if "-o" in parameter.opts
}
"""Long name of the option ``-o`` of each command that has it."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--size", "8"), "'--size': 8 is not allowed: must be greater than or equal to 16"),
        (("run", "--seed", "-1"), "'--seed': -1 is not allowed: must be greater than or equal to 0"),
        (("run", "--size", "two\x1b"), r"'--size': 'two\x1b' is not allowed: must be an integer"),
        (("run", "--appearance-strength", "nan"), "nan is not allowed: must be a finite number"),
        (("run", "--appearance-strength", "x"), "'x' is not allowed: must be a number"),
        (("train", "--held-out", "1.5"), "'--held-out': 1.5 is not allowed: must be less than or equal to 0.9"),
        (("batch", "p.csv", "--seed", "-1"), "'--seed': -1 is not allowed: must be greater than or equal to 0"),
        (("pairs", "build", ".", "--by", "foo"), "'--by': 'foo' is not one of 'similarity', 'random', 'all', 'name'"),
    ],
)
def test_a_value_that_is_not_allowed_is_reported_with_the_reason(vitsplice, arguments, message):
    done = vitsplice(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Input should" not in done.stderr  # pydantic's words


@pytest.mark.parametrize("words", WRITERS, ids=" ".join)
@pytest.mark.parametrize("form", ["short", "separate", "joined"])
def test_an_empty_output_path_is_refused(vitsplice, tmp_path, words, form):
    name = WRITERS[words]
    done = vitsplice(*words, *{"short": ("-o", ""), "separate": (name, ""), "joined": (f"{name}=",)}[form])
    assert done.returncode == 2
    assert done.stderr == "error: the output path is empty; give a file or folder, or . for the current folder\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_help_of_parameters_is_complete_at_80_columns(vitsplice, words):
    truncated = re.findall(r"\S*…", vitsplice(*words, "--help", COLUMNS="80").stdout)
    assert not truncated


def command_with_lists():
    """Copy files.

    Text in
    two lines.

    Modes:
    - all
    - none

    \b
    source
    target

    1. read
    2. write
    """


def test_lines_of_a_paragraph_of_help_are_joined_but_not_those_of_lists_and_preformatted_paragraphs(monkeypatch):
    known = SimpleNamespace(commands={"listing": CommandSpec("listing", command_with_lists, "a command")})
    monkeypatch.setattr("vitsplice.cli.app.catalogue", lambda: known)
    assert Commands().get_command(None, "listing").help.split("\n\n") == [
        "Copy files.",
        "Text in two lines.",
        "Modes:\n- all\n- none",
        "\b\nsource\ntarget",
        "1. read\n2. write",
    ]


@pytest.mark.parametrize(
    ("own", "expected"), [("Copy files, or move them.", "Copy files, or move them."), (None, "work with files")]
)
def test_help_of_a_group_is_its_own_or_else_the_summary(monkeypatch, own, expected):
    group = typer.Typer(help=own)
    group.command()(command_with_lists)
    known = SimpleNamespace(commands={"files": CommandSpec("files", group, "work with files")})
    monkeypatch.setattr("vitsplice.cli.app.catalogue", lambda: known)
    command = Commands().get_command(None, "files")
    assert (command.help, command.short_help) == (expected, "work with files")
