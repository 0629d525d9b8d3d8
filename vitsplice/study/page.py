"""A study as one HTML page: it holds its images and asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from vitsplice.errors import VitspliceError
from vitsplice.study import plan
from vitsplice.study.make import Study
from vitsplice.support.files import write_atomically


def render(study: Study) -> str:
    """The page. Script and style are allowed by their hashes; which image is whose is hidden from a glance."""
    folder = files("vitsplice.study") / "templates"
    html, script, style = ((folder / f"study.{ending}").read_text("utf-8") for ending in ("html", "js", "css"))
    template = Environment(autoescape=True).from_string(html)
    return template.render(
        title=study.key["title"],
        policy=f"default-src 'none'; img-src data:; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'",
        script=Markup(script),
        style=Markup(style),
        key=base64.b64encode(json.dumps(study.key).encode()).decode(),
        images=study.images,
    )


def write(path: Path, study: Study) -> int:
    """Write the plan beside the page, then the page, each whole or not at all.

    Returns:
        The size of the page in bytes.

    Raises:
        VitspliceError: if one cannot be written.
    """
    text = render(study).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(plan.beside(path), plan.as_bytes(study.key))
        write_atomically(path, text)
        return len(text)
    except OSError as error:
        raise VitspliceError(f"cannot write {path}: {error.strerror or error}") from error


def _hash(text: str) -> str:
    """A source of a content security policy, of an element whose text this is."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
