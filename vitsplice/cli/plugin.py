"""``vitsplice plugin``: write a new plugin, or check one."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitsplice.cli.options import AsJson
from vitsplice.cli.output import print_json, print_plugin_failures
from vitsplice.errors import UnknownName, UserError
from vitsplice.text import did_you_mean, truncate

if TYPE_CHECKING:
    from vitsplice.plugins import Catalogue
    from vitsplice.testing import Contract

plugin = typer.Typer(no_args_is_help=True)

LABELS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


@plugin.command()
def new(
    name: Annotated[
        str, typer.Argument(help="Name of the plugin and of its part: lower case letters, digits and dashes.")
    ],
    kind: Annotated[str, typer.Option(help="backbone, loss, generator, conditional_generator, metric or preset.")],
    folder: Annotated[Path, typer.Option(help="Folder in which the new folder vitsplice-NAME is created.")] = Path(),
) -> None:
    """Write a complete plugin that can be installed and passes its own tests."""
    from vitsplice.tools.scaffold import write

    root = write(name, kind, folder)
    typer.echo(root)
    install, test = shlex.quote(f"{root}[dev]"), shlex.quote(str(root))
    typer.echo(f"next: pip install -e {install} && pytest {test}; its README says what to edit", err=True)


@plugin.command()
def check(
    name: Annotated[
        str, typer.Argument(help="Name of a part (a backbone, a loss, ...), or of a plugin to check all its parts.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check the parts of a plugin against their contracts; the exit code is 1 if a check fails."""
    from vitsplice.testing import CONTRACTS

    print_plugin_failures()
    results = {}
    for kind, part in _parts(name):
        contract: type[Contract[Any]] = type(part, (CONTRACTS[kind],), {"name": part})
        results[f"{kind} '{part}'"] = contract.run_checks()
    failed = sum(result.outcome == "failed" for checks in results.values() for result in checks)
    if as_json:
        print_json({title: [asdict(result) for result in checks] for title, checks in results.items()})
    else:
        for title, checks in results.items():
            typer.echo(title)
            for result in checks:
                reason = f"\n           {result.reason}" if result.reason else ""
                typer.echo(f"  {LABELS[result.outcome]:<8} {result.requirement}{reason}")
        typer.echo(f"{failed} failed" if failed else "no check failed")
    if failed:
        raise typer.Exit(1)


def _parts(name: str) -> list[tuple[str, str]]:
    """Return kind and name of each part that has the name, or that belongs to a plugin or distribution of this name."""
    from vitsplice.plugins import catalogue
    from vitsplice.testing import CONTRACTS

    known = catalogue()
    for kind in CONTRACTS:
        if name in getattr(known, kind).conflicts:
            getattr(known, kind)[name]  # raises PluginConflict
    parts = [(kind, name) for kind in CONTRACTS if name in getattr(known, kind)]
    records = [record for record in known.plugins if name in (record.name, record.distribution)]
    for record in records:
        if record.failure:
            failure = UserError(f"plugin '{name}' failed to load: {record.failure}")
            failure.add_note(record.traceback)  # printed with --debug
            raise failure
        parts += [(kind, part) for kind in CONTRACTS for part in record.specs.get(kind, ())]
    if records and not parts:
        unlisted = "\nTo check a backbone that the plugin does not list, give the name of that backbone"
        raise UserError(
            f"plugin '{name}' lists no part that has a contract; there are contracts of {', '.join(CONTRACTS)}"
            + (unlisted if any(record.any_backbone for record in records) else "")
        )
    if not parts:
        if name in known.commands:
            raise UserError(f"'{name}' is a command; there are contracts of {', '.join(CONTRACTS)}")
        _check_backbone(known, name, [part for kind in CONTRACTS for part in getattr(known, kind)])
        parts = [("backbones", name)]
    return list(dict.fromkeys(parts))


def _check_backbone(known: Catalogue, name: str, parts: list[str]) -> None:
    """Raise UnknownName unless a plugin provides a backbone of this name without listing it."""
    try:
        known.backbones[name]
    except UnknownName as error:
        similar = did_you_mean(name, {*parts, *(record.name for record in known.plugins)})
        _, _, details = str(error).partition("\n")
        raise UnknownName(
            f"no part and no plugin has the name {truncate(name)!r}{similar and '.'}{similar}\n"
            f"Install a plugin of your own before you check it: pip install -e FOLDER\n{details}".rstrip()
        ) from error
