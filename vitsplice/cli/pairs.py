"""``vitsplice pairs``: manifests of pairs, made and looked through."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.wording import DEVICE, backbone_option

if TYPE_CHECKING:
    from vitsplice.datasets.findings import Checked

pairs = typer.Typer(help="Make manifests of pairs, and look for what is wrong with them.", no_args_is_help=True)

SHOWN = 10
"""Findings of a kind that are told one by one."""


class By(StrEnum):
    """How images are paired."""

    similarity = "similarity"
    random = "random"
    every = "all"
    name = "name"


@pairs.command()
def build(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of images; of subfolders with structure.* and appearance.*; a tree such as train/cat/*; "
            "a text file of two paths a line. With APPEARANCE: structure images, or a scene's transforms.json.",
        ),
    ],
    appearance: Annotated[
        Path | None, typer.Argument(metavar="APPEARANCE", help="A folder of appearance images, or one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The manifest, .csv or .jsonl. Required.", metavar="FILE")
    ] = None,
    by: Annotated[
        By | None,
        typer.Option(
            help="similarity: the nearest by the backbone's [CLS]; random; all; name: the same name in two folders. "
            "Without it: name for two folders, all for a scene or a single image, otherwise random."
        ),
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", min=1, help="Appearance images for each structure image. Without it: 1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of --by random. Without it: 0.")] = None,
    backbone: Annotated[
        str | None, backbone_option("It measures similarity. Without it: that of the default preset.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of all images, such as CC0; it is written to every pair.")] = "",
    source: Annotated[
        str, typer.Option(help="Source of all images; it is written to every pair. Without it: the domain.")
    ] = "",
    device: Annotated[str, DEVICE] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace a manifest that is there.")] = False,
) -> None:
    """Make a manifest of pairs from images or lists; the same again gives the same manifest.

    With --by similarity, features that are computed are stored: the same command resumes.
    """
    if out is None:
        raise typer.BadParameter("name the manifest with -o, such as -o pairs.csv")
    from vitsplice.cli.progress import parts_progress, unless_stopped
    from vitsplice.datasets.build import Plan
    from vitsplice.datasets.build import build as made

    plan = Plan(place, appearance, by.value if by else None, k, seed, backbone, device, licence.strip(), source.strip())
    with parts_progress() as progress:
        number = unless_stopped(made(plan, out, force=force, progress=progress))
    typer.echo(f"{number} pairs", err=True)
    typer.echo(out)


@pairs.command()
def check(
    manifest: Annotated[Path, typer.Argument(metavar="PAIRS", help="A manifest, .csv or .jsonl.")],
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="A kind that is no finding, such as duplicate; several.")
    ] = None,
    require_licence: Annotated[
        bool, typer.Option("--require-licence", help="A pair without a licence is a finding, not a note.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """Find what is missing, corrupt or duplicate; the exit code is 1 if anything is. A missing licence is a note."""
    import json

    from vitsplice.cli.progress import PartsProgress
    from vitsplice.datasets.check import check as checked
    from vitsplice.support.progress import ProgressReporter

    with PartsProgress() as parts:
        found = checked(
            manifest, ignore=ignore or [], require_licence=require_licence, progress=ProgressReporter(parts)
        )
    if as_json:
        typer.echo(json.dumps(found.plain(), indent=2))
    else:
        _show(found)
    if found.findings:
        raise typer.Exit(1)


def _show(found: Checked) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vitsplice.datasets.findings import KINDS
    from vitsplice.text import one_line

    table = Table("what", "pair", "why", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[0].no_wrap = True
    for kind in KINDS:
        findings = [finding for finding in found.findings if finding.kind == kind]
        for finding in findings[:SHOWN]:
            more = f" and {finding.pairs - 1} more" if finding.pairs > 1 else ""
            table.add_row(*(Text(one_line(cell)) for cell in (kind, f"{finding.pair}{more}", finding.why)))
        if len(findings) > SHOWN:
            table.add_row(kind, "", f"... and {len(findings) - SHOWN} more; --json has all")
    if found.findings:
        Console().print(table)
    counts = ", ".join(f"{number} {kind}" for kind, number in found.counts.items()) or "nothing found"
    if found.notes:
        typer.echo(
            f"note: {len(found.notes)} of {found.pairs} pairs have no licence, the first is {found.notes[0].pair}; "
            "`pairs build --licence` writes one, `--require-licence` makes it a finding",
            err=True,
        )
    typer.echo(f"{found.pairs} pairs of {found.images} images and {found.masks} masks: {counts}")
