"""A new plugin: a folder that can be installed and passes its own tests as it stands."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from vitsplice.errors import OutputExists, UserError
from vitsplice.support.files import write_atomically
from vitsplice.text import truncate

TEMPLATES = files("vitsplice.tools") / "templates"

LONGEST = 60
"""Characters of a name, which folders and modules are named by."""


@dataclass(frozen=True)
class Kind:
    """What is made for one kind of part.

    Args:
        contract: the test class of `vitsplice.testing`.
        files: template by path in the plugin's module.
        use: a command that uses the part.
        edit: what to change, for the README.
    """

    contract: str
    files: dict[str, str]
    use: str
    edit: str


KINDS = {
    "backbone": Kind(
        "BackboneContract",
        {"__init__.py": "backbone.py.txt", "network.py": "network.py.txt"},
        "vitsplice run --backbone $name --steps 20",
        "- `$module/network.py`: your network, and the facts in `info`.\n"
        "- `$module/__init__.py`: licence and source of its weights, and how they are read.",
    ),
    "loss": Kind(
        "LossContract",
        {"__init__.py": "loss.py.txt"},
        "vitsplice run --set terms.mine.loss=$name --set terms.mine.weight=1 --steps 20",
        "- `$module/__init__.py`: what the term asks for in `build`, and the distance.",
    ),
    "generator": Kind(
        "GeneratorContract",
        {"__init__.py": "generator.py.txt", "network.py": "matrix.py.txt"},
        "vitsplice run --set generator.name=$name --steps 20",
        "- `$module/network.py`: your network.\n- `$module/__init__.py`: its options.",
    ),
    "metric": Kind(
        "MetricContract",
        {"__init__.py": "metric.py.txt"},
        "vitsplice evaluate METHOD=FOLDER --pairs PAIRS.csv --metric $name",
        "- `$module/__init__.py`: the distance, and what is said of it in `MetricSpec`.",
    ),
    "preset": Kind(
        "PresetContract",
        {"__init__.py": "preset.py.txt", "$name.yaml": "preset.yaml.txt"},
        "vitsplice run --preset $name --steps 20",
        "- `$module/$name.yaml`: the settings, each with its source in a comment.",
    ),
}


def write(name: str, kind: str, folder: Path) -> Path:
    """Write a plugin into a new folder ``vitsplice-NAME`` and return its path.

    Args:
        name: of the part, and of the plugin: lower case, digits and single dashes, at most `LONGEST` characters.
        kind: one of `KINDS`.
        folder: where the new folder goes.

    Raises:
        UserError: for a name or a kind that cannot be, or a folder that cannot be written to.
        OutputExists: if the folder is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name) or len(name) > LONGEST:
        raise UserError(
            f"'{truncate(name)}' cannot be a plugin's name: at most {LONGEST} lower case letters, digits and single "
            "dashes, a letter first"
        )
    if kind not in KINDS:
        raise UserError(f"there is no kind '{kind}'; there are {', '.join(KINDS)}")
    short = name.removeprefix("vitsplice-")
    words = {
        "name": short,
        "distribution": f"vitsplice-{short}",
        "module": f"vitsplice_{short.replace('-', '_')}",
        "title": short.replace("-", " ").title().replace(" ", ""),
        "kind": kind,
        "contract": KINDS[kind].contract,
    }
    root = folder / words["distribution"]
    if root.exists():
        raise OutputExists(f"{root} exists already; choose another name, or remove it")
    try:
        for path, text in _files(kind, words).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(root / path, text.encode())
    except OSError as error:
        raise UserError(f"cannot write {root}: {error.strerror or error}") from error
    return root


def _files(kind: str, words: dict[str, str]) -> dict[str, str]:
    """Path in the plugin's folder -> text."""
    chosen, module = KINDS[kind], words["module"]
    words = words | {"use": Template(chosen.use).substitute(words), "edit": Template(chosen.edit).substitute(words)}
    inner = {f"{module}/{path}": template for path, template in chosen.files.items()}
    inner |= {"pyproject.toml": "pyproject.toml.txt", "README.md": "README.md.txt"}
    inner |= {f"tests/test_{module}.py": "test.py.txt"}
    made = {Template(path).substitute(words): _filled(template, words) for path, template in inner.items()}
    return made | {f"{module}/py.typed": ""}


def _filled(template: str, words: dict[str, str]) -> str:
    return Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(words)
