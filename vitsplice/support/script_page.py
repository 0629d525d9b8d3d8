"""Self-contained HTML pages, whose content security policy allows only their own script."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


def render_script_page(package: str, name: str, **values: object) -> str:
    """Format a page from the files NAME.html, NAME.css and NAME.js of the folder ``templates`` of a package.

    The page may load nothing. Its content security policy allows only its own script and style, by their hashes.

    Args:
        package: name of the package.
        name: name of the files.
        values: values of the template's variables, except for ``policy``, ``script`` and ``style``, which are set here.
    """
    folder = files(package) / "templates"
    html, script, style = ((folder / f"{name}.{ending}").read_text("utf-8") for ending in ("html", "js", "css"))
    policy = (
        f"default-src 'none'; img-src data:; script-src {_policy_hash(script)}; style-src {_policy_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(html)
    return template.render(policy=policy, script=Markup(script), style=Markup(style), **values)


def _policy_hash(text: str) -> str:
    """Return the source expression that allows an inline element with this text in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
