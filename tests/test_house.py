"""The house: imports point one way, and nothing of the project names what it must not."""

import ast
import re
from pathlib import Path

import pytest

import vitsplice

HOUSE = Path(vitsplice.__file__).parent
FLOORS = [
    {"errors", "text"},
    {
        "bounded_yaml",
        "colour",
        "contracts",
        "csv_text",
        "files",
        "text",
        "images",
        "rng",
        "hookspecs",
        "mistakes",
        "numerics",
        "options",
        "log",
        "watch",
    },
    {"config", "settings_yaml", "plugins", "backbones", "matching", "losses", "generators"},
    {"engine", "executors"},
    {
        "measure",
        "loss_modules",
        "metrics",
        "result",
        "facts",
        "api",
        "report",
        "bench",
        "recording",
        "doctor",
        "testing",
        "scaffold",
        "analysis",
        "pairs",
        "networks",
        "batch",
        "study",
        "evaluation",
        "keypoints",
    },
    {"cli"},
    {"builtin", "__main__"},
]
PUBLIC_TO_PLUGINS = {
    "errors",
    "contracts",
    "rng",
    "numerics",
    "hookspecs",
    "options",
    "images",
    "files",
    "text",
    "backbones",
    "colour",
    "matching",
    "losses",
    "generators",
    "executors",
    "testing",
}


def floor(room):
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def files():
    return [path for path in sorted(HOUSE.rglob("*.py")) if path != HOUSE / "__init__.py"]


def room(path):
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def imports(path):
    """The rooms of vitsplice that a file imports at run time, wherever in the file."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            bare = node.module == "vitsplice"
            names = [f"vitsplice.{alias.name}" for alias in node.names] if bare else [node.module]
        yield from (name.split(".")[1] for name in names if name.startswith("vitsplice."))


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_imports_point_down(path):
    above = {other for other in imports(path) if floor(other) > floor(room(path))}
    assert not above


@pytest.mark.parametrize("kind", ["backbones", "losses", "generators", "executors"])
def test_built_in_parts_import_nothing_that_a_plugin_could_not(kind):
    for path in (HOUSE / kind).rglob("*.py"):
        assert set(imports(path)) <= PUBLIC_TO_PLUGINS, path


def test_only_the_command_line_uses_rich_and_typer():
    for path in files():
        tree = ast.parse(path.read_text())
        names = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
        names |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        used = {name.split(".")[0] for name in names} & {"rich", "typer"}
        assert not used or room(path) == "cli", path


WRITE_COMMANDS = {"report/run_page.py", "scaffold.py"}
"""Files that write whole commands for a person to type in a shell."""


def strings(path):
    """The string literals of a file, its docstrings left out."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_nothing_below_the_command_line_names_an_option_of_it(path):
    if room(path) == "cli" or path.relative_to(HOUSE).as_posix() in WRITE_COMMANDS:
        return
    named = [text for text in strings(path) if re.search(r"(?<![\w-])(--[a-z]|-o\b)", text)]
    assert not named, "errors name an Argument or a Setting (vitsplice.errors), which the command line writes"
