"""Install packages into the environment of this interpreter: `python install.py ARGUMENTS`, those of `pip install`.

uv takes about half the time of pip, which is used where uv fails. uv does not read pip's settings (index, folders of
wheels, constraints, certificate), so this script passes them on as uv's environment variables.
"""

import ast
import os
import subprocess
import sys

PIP = [sys.executable, "-m", "pip"]
# Setting of pip: variable of uv, and what separates its values there, for settings of several values.
VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", None),
    "extra-index-url": ("UV_EXTRA_INDEX_URL", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", None),
}


def uv_settings(listing: str) -> dict[str, str]:
    """Environment variables of uv for the output of `pip config list`; variables of pip override its files."""
    values: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listing.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{section}."):
                values[key.removeprefix(f"{section}.")] = ast.literal_eval(value)
    settings = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # the newest release of all indexes, as pip does
    for key in VARIABLES.keys() & values.keys():
        variable, separator = VARIABLES[key]
        settings[variable] = separator.join(values[key].split()) if separator else values[key]
    return settings


def main(arguments: list[str]) -> None:
    listing = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True).stdout
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    environment = uv_settings(listing) | os.environ
    if subprocess.run([*uv, *arguments], env=environment, check=False).returncode:
        print("uv failed: installing with pip", flush=True)
        sys.exit(subprocess.run([*PIP, "install", "--quiet", "--no-compile", *arguments], check=False).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
