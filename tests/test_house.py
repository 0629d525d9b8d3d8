"""Rules for the packages of vitsplice: imports, names of classes, and files that may contain options of commands."""

import ast
import re
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import vitsplice

SOURCE = Path(vitsplice.__file__).parent
PACKAGES = (
    "text", "errors", "contracts", "hookspecs", "rng", "numerics", "images", "support", "luts", "options",
    "config", "plugins", "backbones", "matching", "losses", "generators", "presets", "engine", "models",
    "loss_modules", "metrics", "runs", "api", "notebook", "video", "datasets", "training", "batch", "analysis",
    "evaluation", "keypoints", "study", "results", "testing", "tools", "cli", "builtin", "__main__",
)  # fmt: skip
"""Every subpackage and top-level module of vitsplice, the lowest layer first. At run time, each imports only from
itself and from those before it; imports under TYPE_CHECKING are not checked."""

PACKAGES_FOR_PLUGINS = {
    "errors",
    "contracts",
    "rng",
    "numerics",
    "hookspecs",
    "options",
    "images",
    "support",
    "text",
    "backbones",
    "matching",
    "losses",
    "generators",
    "testing",
}
COMMAND_WRITERS = {"runs/repeat.py", "tools/scaffold.py"}
"""Files that write whole commands for a person to type in a shell."""


def name_of(path):
    """The dotted name of a module without the leading `vitsplice.`, such as `engine.loop`."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"}


def package_of(name):
    return name.split(".")[0]


@cache
def nodes_of(path):
    """The nodes of the syntax tree of a file."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def imports(path):
    """The modules of vitsplice that a file imports, also inside functions, but not under TYPE_CHECKING."""
    typing_only = {
        id(inner)
        for node in nodes_of(path)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in nodes_of(path):
        if id(node) in typing_only:
            continue
        assert not getattr(node, "level", 0), f"{path}: {ast.unparse(node)!r} is a relative import"
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, inner = name.partition(".")
            if package == "vitsplice" and inner:
                yield inner if inner in FILES else inner.rpartition(".")[0] or inner


@pytest.fixture(scope="module")
def imports_of_files():
    """The modules of vitsplice that each of its modules imports, by name."""
    return {name: set(imports(path)) - {name} for name, path in FILES.items()}


def test_packages_import_only_lower_packages(imports_of_files):
    upward = [
        f"{name} -> {other}"
        for name, others in imports_of_files.items()
        for other in others
        if PACKAGES.index(package_of(other)) > PACKAGES.index(package_of(name))
    ]
    assert not upward


def test_files_have_no_import_cycles(imports_of_files):
    TopologicalSorter(imports_of_files).prepare()


@pytest.mark.parametrize("kind", ["backbones", "losses", "generators"])
def test_built_in_backbones_losses_and_generators_import_only_packages_for_plugins(imports_of_files, kind):
    for name, others in imports_of_files.items():
        if package_of(name) == kind:
            assert set(map(package_of, others)) <= PACKAGES_FOR_PLUGINS, name


@pytest.mark.slow
def test_no_two_classes_have_the_same_name():
    plugins = (SOURCE.parent / "plugins").glob("*/vitsplice_*/**/*.py")
    nodes = (node for path in (*FILES.values(), *plugins) for node in nodes_of(path))
    names = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    assert max(names.values()) == 1, names.most_common(3)


@pytest.mark.slow
def test_only_the_command_line_uses_rich_and_typer():
    for name, path in FILES.items():
        nodes = nodes_of(path)
        modules = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
        modules |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
        used = {module.split(".")[0] for module in modules} & {"rich", "typer"}
        assert not used or package_of(name) == "cli", name


def strings(path):
    """The string literals of a file, without its docstrings."""
    nodes = nodes_of(path)
    documentation = {
        id(node.value) for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


@pytest.mark.slow
def test_only_the_command_line_and_writers_of_commands_contain_options():
    others = [
        path
        for name, path in FILES.items()
        if package_of(name) != "cli" and path.relative_to(SOURCE).as_posix() not in COMMAND_WRITERS
    ]
    option = re.compile(r"(?<![\w-])(--[a-z]|-o\b)")
    options = [(path, text) for path in others for text in strings(path) if option.search(text)]
    assert not options, (
        "only vitsplice/cli and COMMAND_WRITERS may contain options; in a message put an Argument or a Setting "
        "(vitsplice.errors) instead, which the command line formats as an option"
    )
