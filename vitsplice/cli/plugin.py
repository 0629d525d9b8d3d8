"""``vitsplice plugin``: begin one, and check one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vitsplice.plugins import Catalogue
    from vitsplice.testing import Contract, Verdict

plugin = typer.Typer(help="Begin a plugin, or check one against the contracts.", no_args_is_help=True)

MARKS = {"kept": "ok", "broken": "BROKEN", "not checked": "-"}


@plugin.command()
def new(
    name: Annotated[
        str, typer.Argument(help="Name of the part and of the plugin: lower case letters, digits, dashes.")
    ],
    kind: Annotated[str, typer.Option(help="backbone, loss, generator, metric or preset.")],
    folder: Annotated[Path, typer.Option(help="Where the new folder vitsplice-NAME goes.")] = Path(),
) -> None:
    """Write a complete plugin that can be installed and passes its own tests."""
    from vitsplice.tools.scaffold import write

    made = write(name, kind, folder)
    typer.echo(made)
    typer.echo(f"next: pip install -e '{made}[dev]' && pytest {made}; its README says what to edit", err=True)


@plugin.command()
def check(
    name: Annotated[
        str, typer.Argument(help="Name of a part (a backbone, a loss, ...), or of a plugin: all its parts.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print plain JSON, for programs.")] = False,
) -> None:
    """Test the parts of a plugin against their contracts; exit code 1 if one fails."""
    from vitsplice.cli.wording import note_failures

    note_failures()
    found = {f"{kind} '{part}'": _verdicts(kind, part) for kind, part in _parts(name)}
    broken = sum(verdict.outcome == "broken" for verdicts in found.values() for verdict in verdicts)
    if as_json:
        typer.echo(json.dumps({title: [asdict(v) for v in verdicts] for title, verdicts in found.items()}, indent=2))
    else:
        for title, verdicts in found.items():
            typer.echo(title)
            for verdict in verdicts:
                why = f"\n           {verdict.why}" if verdict.why else ""
                typer.echo(f"  {MARKS[verdict.outcome]:<8} {verdict.promise}{why}")
        typer.echo(f"{broken} broken" if broken else "every contract is kept")
    if broken:
        raise typer.Exit(1)


def _verdicts(kind: str, name: str) -> list[Verdict]:
    from vitsplice import testing

    contracts: tuple[type[Contract], ...] = (
        testing.BackboneContract,
        testing.LossContract,
        testing.GeneratorContract,
        testing.MetricContract,
        testing.PresetContract,
        testing.ExecutorContract,
    )
    made: type[Contract] = type(name, (next(c for c in contracts if c.kind == kind),), {"name": name})
    return made.verdicts()


def _parts(name: str) -> list[tuple[str, str]]:
    """Kind and name of the parts that are meant: those of that name, or all of the plugin of that name."""
    from vitsplice.errors import UserError
    from vitsplice.plugins import catalogue

    known, kinds = catalogue(), ("backbones", "losses", "generators", "metrics", "presets", "executors")
    named = [(kind, name) for kind in kinds if name in getattr(known, kind)]
    given = [record for record in known.plugins if name in (record.name, record.distribution)]
    for record in given:
        if record.failure:
            raise UserError(f"plugin '{name}' does not load: {record.failure}")
        named += [(kind, part) for kind in kinds for part in record.specs.get(kind, ())]
    if given and not named:
        raise UserError(f"plugin '{name}' gives no part that has a contract; there are contracts of {', '.join(kinds)}")
    if not named:
        _check_backbone(known, name)
        named = [("backbones", name)]
    return list(dict.fromkeys(named))


def _check_backbone(known: Catalogue, name: str) -> None:
    """Raise UnknownName unless a plugin makes a backbone for the name: no part has it, nor has a plugin."""
    from vitsplice.errors import UnknownName
    from vitsplice.text import did_you_mean, truncate

    kinds = (known.backbones, known.losses, known.generators, known.metrics, known.presets, known.executors)
    names = {*(part for parts in kinds for part in parts), *(record.name for record in known.plugins)}
    try:
        known.backbones[name]
    except UnknownName as error:
        _, _, rest = str(error).partition("\n")
        raise UnknownName(
            f"no part and no plugin has the name {truncate(name)!r}{did_you_mean(name, names)}\n"
            f"A plugin of your own is installed before it is checked: pip install -e FOLDER\n{rest}".rstrip()
        ) from error
