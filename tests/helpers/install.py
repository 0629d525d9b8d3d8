"""Install packages into the environment of this interpreter: `python install.py ARGUMENTS`, as for `pip install`.

uv takes about half as long as pip. If uv is missing or fails, pip is used. uv does not read pip's settings, such as the
index, folders of wheels and constraints, so this script gives them to uv as arguments.
"""

import subprocess
import sys


def uv_arguments():
    """Return arguments of `uv pip install` for the settings of pip in its files and environment variables."""
    from pip._internal.commands import create_command  # private, but the only reader of all of pip's settings

    pip, _ = create_command("install").parse_args([])
    values = {
        "default-index": [pip.index_url],
        "extra-index-url": pip.extra_index_urls,
        "find-links": pip.find_links,
        "constraints": pip.constraints,
        "cert": [pip.cert],
        "allow-insecure-host": pip.trusted_hosts,
    }
    arguments = [f"--{name}={value}" for name, given in values.items() for value in given if value]
    # like pip, choose the newest release among those of all indexes
    return ["--index-strategy=unsafe-best-match", *arguments, *(["--no-index"] if pip.no_index else [])]


def main(arguments):
    module = [sys.executable, "-m"]
    uv = [*module, "uv", "pip", "install", "--quiet", "--python", sys.executable]
    if subprocess.run([*uv, *uv_arguments(), *arguments], check=False).returncode:
        print("uv is missing or failed; installing with pip", flush=True)
        pip = [*module, "pip", "install", "--quiet", "--no-compile"]
        sys.exit(subprocess.run([*pip, *arguments], check=False).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
