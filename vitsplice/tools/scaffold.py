"""Scaffold of a new plugin: a folder that can be installed and passes its own tests."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from string import Template

from vitsplice.errors import OutputExists, UserError
from vitsplice.plugins import catalogue
from vitsplice.plugins.discovery import DISTRIBUTION, canonical
from vitsplice.support import bounded_yaml
from vitsplice.support.files import write_atomically
from vitsplice.text import truncate

TEMPLATE_FOLDER = resources("vitsplice.tools") / "templates"

MAX_LENGTH = 60
"""Maximum number of characters of a name, which becomes the name of a folder and of a module."""


@dataclass(frozen=True)
class PluginTemplate:
    """Files and texts of a plugin of one kind.

    Args:
        contract: test class of `vitsplice.testing`.
        files: template of each file, by its path in the plugin's module.
        use: a command that uses the plugin.
        edit: the files to edit, for the README.
    """

    contract: str
    files: dict[str, str]
    use: str
    edit: str


TEMPLATES_BY_KIND = {
    "backbone": PluginTemplate(
        "BackboneContract",
        {"__init__.py": "backbone.py.txt", "network.py": "network.py.txt"},
        "vitsplice run --backbone $name --steps 20",
        "- `$module/network.py`: your network, and its `info`.\n"
        "- `$module/__init__.py`: licence and source of its weights, and how they are loaded.",
    ),
    "loss": PluginTemplate(
        "LossContract",
        {"__init__.py": "loss.py.txt"},
        "vitsplice run --set terms.mine.loss=$name --set terms.mine.weight=1 --steps 20",
        "- `$module/__init__.py`: the feature requests in `build`, and the distance.",
    ),
    "generator": PluginTemplate(
        "GeneratorContract",
        {"__init__.py": "generator.py.txt", "network.py": "matrix.py.txt"},
        "vitsplice run --set generator.name=$name --steps 20",
        "- `$module/network.py`: your network.\n- `$module/__init__.py`: its options.",
    ),
    "conditional_generator": PluginTemplate(
        "ConditionalGeneratorContract",
        {"__init__.py": "conditional_generator.py.txt", "network.py": "detail.py.txt"},
        "vitsplice train FOLDER -o MODEL --preset splicenet --set generator.name=$name",
        "- `$module/network.py`: your network.\n- `$module/__init__.py`: its conditions and options.",
    ),
    "metric": PluginTemplate(
        "MetricContract",
        {"__init__.py": "metric.py.txt"},
        "vitsplice evaluate METHOD=FOLDER --pairs PAIRS.csv --metric $name",
        "- `$module/__init__.py`: the distance, and its description in `MetricSpec`.",
    ),
    "preset": PluginTemplate(
        "PresetContract",
        {"__init__.py": "preset.py.txt", "$name.yaml": "preset.yaml.txt"},
        "vitsplice run --preset $name --steps 20",
        "- `$module/$name.yaml`: the settings, each with its source in a comment.",
    ),
}


def write(name: str, kind: str, folder: Path) -> Path:
    """Write a plugin into a new folder ``vitsplice-NAME``, and return its path.

    Args:
        name: name of the plugin and of its part: at most `MAX_LENGTH` lower case letters, digits and single dashes, the
            first a letter, the last no dash. A prefix ``vitsplice-`` is removed. Presets are YAML, so words such as
            ``null`` and ``on``, which YAML does not read as text, are not allowed.
        kind: one of `TEMPLATES_BY_KIND`.
        folder: parent of the new folder.

    Raises:
        UserError: if the name or the kind is not allowed, the name is taken by an installed part or plugin, or the
            folder cannot be written to; nothing remains of the new folder then.
        OutputExists: if the new folder exists.
    """
    short = name.removeprefix("vitsplice-")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", short) or len(short) > MAX_LENGTH:
        raise UserError(
            f"'{truncate(name)}' is not allowed as the name of a plugin; it must have at most {MAX_LENGTH} lower case "
            "letters, digits and single dashes, start with a letter, and not end with a dash"
        )
    if not isinstance(bounded_yaml.parse(short), str):
        raise UserError(
            f"'{short}' is not allowed as the name of a plugin, because YAML does not read it as text; "
            "choose another name"
        )
    if short == DISTRIBUTION:
        raise UserError(
            f"'{truncate(name)}' is not allowed as the name of a plugin, because the built-in plugin has this "
            "name; choose another"
        )
    if kind not in TEMPLATES_BY_KIND:
        raise UserError(f"there is no kind '{kind}'; allowed are {', '.join(TEMPLATES_BY_KIND)}")
    values = {
        "name": short,
        "distribution": f"vitsplice-{short}",
        "module": f"vitsplice_{short.replace('-', '_')}",
        "title": short.replace("-", " ").title().replace(" ", ""),
        "kind": kind.replace("_", " "),
        "contract": TEMPLATES_BY_KIND[kind].contract,
    }
    root = folder / values["distribution"]
    if os.path.exists(root):
        raise OutputExists(f"{root} already exists; choose another name, or remove it")
    _check_unused(kind, short, values["distribution"])
    try:
        for path, text in _files(kind, values).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(root / path, text.encode())
    except OSError as error:
        shutil.rmtree(root, ignore_errors=True)
        raise UserError(f"cannot write {root}: {error.strerror or error}") from error
    return root


def _check_unused(kind: str, name: str, distribution: str) -> None:
    """Raise UserError if a part of the kind has the name, or a plugin has the name of the distribution."""
    known = catalogue()
    registry = getattr(known, "losses" if kind == "loss" else f"{kind}s")
    if name in registry or name in registry.conflicts:
        raise UserError(f"there is already a {kind.replace('_', ' ')} '{name}'; choose another name")
    if any(canonical(record.distribution) == canonical(distribution) for record in known.plugins):
        raise UserError(f"the plugin {distribution} is already installed; choose another name, or uninstall it")


def _files(kind: str, values: dict[str, str]) -> dict[str, str]:
    """Return the text of each file, by its path in the plugin's folder; ``values`` replace the placeholders."""
    template, module = TEMPLATES_BY_KIND[kind], values["module"]
    values = values | {name: Template(getattr(template, name)).substitute(values) for name in ("use", "edit")}
    templates = {f"{module}/{path}": file for path, file in template.files.items()}
    templates |= {"pyproject.toml": "pyproject.toml.txt", "README.md": "README.md.txt"}
    templates |= {f"tests/test_{module}.py": "test.py.txt"}
    files = {Template(path).substitute(values): _fill(file, values) for path, file in templates.items()}
    return files | {f"{module}/py.typed": ""}


def _fill(template: str, values: dict[str, str]) -> str:
    return Template((TEMPLATE_FOLDER / template).read_text(encoding="utf-8")).substitute(values)
