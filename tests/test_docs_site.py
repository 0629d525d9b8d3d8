"""The documentation site builds without warnings or network; its links are valid and its commands exist."""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from itertools import takewhile
from pathlib import Path

import pytest
import typer
from markdown.extensions.toc import slugify
from typer.core import TyperGroup

from vitsplice import settings_for
from vitsplice.builtin import PRESETS
from vitsplice.cli.app import application

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
]

BUILD = """
import socket, sys

def refuse(*_):
    raise OSError("the site is built without a network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli(["build", "--strict", "--site-dir", sys.argv[1]])
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-c", BUILD, folder]
    process = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert "WARNING" not in process.stderr
    return folder


class Assets(HTMLParser):
    """Addresses that a browser loads with a page; links are excluded."""

    def __init__(self, page):
        super().__init__()
        self.loaded = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "link" and values.get("rel") not in ("stylesheet", "icon", "preload", "preconnect", "dns-prefetch"):
            return
        self.loaded += [values[key] for key in ("src", "srcset", "href") if tag != "a" and values.get(key)]


@pytest.mark.slow
def test_a_page_loads_only_files_of_the_site(site):
    pages = list(site.glob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").glob("*.md")))  # one more: 404.html
    for page in pages:
        for address in Assets(page.read_text()).loaded:
            assert not re.match(r"(\w+:)?//", address), f"{page.name} loads {address}"
            assert (site / address.lstrip("/").partition("?")[0]).is_file(), f"{page.name}: {address} is missing"


def test_the_style_sheets_load_only_files_of_the_site(site):
    sheets = list(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)'\"]*", sheet.read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_point_to_existing_files_and_headings(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            assert anchor in [slugify(heading.replace("`", ""), "-") for heading in headings], link


def commands_in_code(text):
    """Parse the commands in code blocks, up to a comment, a redirection or another command."""
    lines = text.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if re.match(r"\s*vitsplice ", line)]
    return [list(takewhile(lambda word: word not in (">", "&&"), words)) for words in commands]


def commands_in_sentences(text):
    """Parse the commands in sentences and tables, without placeholders such as OUT."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    mentions = re.findall(r"`(vitsplice [^`]+)`", prose)
    return [[word for word in shlex.split(mention) if not word.isupper()] for mention in mentions]


@cache
def root_command():
    return typer.main.get_command(application())


def subcommands(command):
    """List the commands of a group; a command that is no group has none."""
    names = command.list_commands(None) if isinstance(command, TyperGroup) else []
    return [command.get_command(None, name) for name in names]


def command_and_arguments(words):
    """Split words that start with ``vitsplice`` into the command object and its arguments."""
    command, words = root_command(), words[1:]
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        assert words[0] in command.list_commands(None), f"there is no command {words[0]!r}"
        command, words = command.get_command(None, words[0]), words[1:]
    return command, words


def options(command):
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


DOCUMENTS_WITH_COMMANDS = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]


@pytest.mark.parametrize("document", DOCUMENTS_WITH_COMMANDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_settings_in_the_documents_are_accepted(document):
    """Files of the commands need not exist; ``--set`` is validated against the built-in preset, by default quick."""
    text = document.read_text()
    for words in commands_in_code(text):
        command, arguments = command_and_arguments(words)
        parameters = command.make_context(command.name, arguments).params
        preset = parameters.get("preset")
        overrides = [
            override for override in parameters.get("set_") or [] if not override.startswith("backbone.weights=")
        ]
        settings_for(preset if preset in list(PRESETS) else "quick", overrides=overrides)
    for words in commands_in_sentences(text):
        command, arguments = command_and_arguments(words)
        named = {argument.partition("=")[0] for argument in arguments if re.match("--?[a-z]", argument)}
        assert named <= options(command) | {"--help", "--debug"}, words


def test_options_in_sentences_are_options_of_some_command():
    root = root_command()
    commands = [root, *subcommands(root), *(inner for command in subcommands(root) for inner in subcommands(command))]
    known = set().union(*map(options, commands)) | {"--help", "--debug"}
    for document in DOCUMENTS_WITH_COMMANDS:
        named = set(re.findall(r"`(--[a-z][\w-]*)", document.read_text()))
        assert named <= known, document
