"""``vitsplice pairs``: build and check manifests of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vitsplice.cli.options import DEVICE, backbone_option
from vitsplice.cli.output import print_json, print_table
from vitsplice.text import with_count

if TYPE_CHECKING:
    from vitsplice.datasets.check import CheckReport

pairs = typer.Typer(no_args_is_help=True)

SHOWN = 10
"""Maximum number of issues of each kind in the table."""


@pairs.command()
def build(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of images, a folder of one pair (structure.* and appearance.*, or A/ and B/), a folder with "
            "a subfolder for each pair, a tree such as train/cat/*, or a text file with two paths per line. With "
            "APPEARANCE: a structure image, a folder of them, or a scene's transforms.json.",
        ),
    ],
    appearance: Annotated[
        Path | None, typer.Argument(metavar="APPEARANCE", help="An appearance image, or a folder of them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The manifest, .csv or .jsonl. Required.", metavar="FILE")
    ] = None,
    by: Annotated[
        Literal["similarity", "random", "all", "name"] | None,
        typer.Option(
            help="similarity: the appearance images whose appearance feature (for a ViT, [CLS]) is most similar to the "
            "structure image's; random; all; name: the same name in two folders. Default: name for two folders; all "
            "for a scene, or if SOURCE or APPEARANCE is a single image; random for a folder or a tree of images. Not "
            "for a source that defines the pairs."
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "--k",
            min=1,
            help="With --by similarity or random: maximum number of appearance images for each structure image. "
            "Default: 1.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of --by random. Default: 0.")] = None,
    backbone: Annotated[
        str | None, backbone_option("For --by similarity. Default: the first of the default preset.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of all images, such as CC0; it is written to every pair.")] = "",
    source: Annotated[
        str,
        typer.Option(
            help="Origin of all images, such as AFHQ, written to the field source of every pair. Default for a tree: "
            "the folder of the pair, such as train/cat."
        ),
    ] = "",
    device: Annotated[str, DEVICE] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing manifest.")] = False,
) -> None:
    """Build a manifest of pairs from images or lists; the same command gives the same manifest.

    With --by similarity, computed features are cached: the same command resumes where it was stopped.
    """
    if out is None:
        raise typer.BadParameter("name the manifest with -o, such as -o pairs.csv")
    from vitsplice.cli.progress import parts_progress, unless_stopped
    from vitsplice.datasets.build import BuildOptions
    from vitsplice.datasets.build import build as build_manifest

    options = BuildOptions(path, appearance, by, k, seed, backbone, device, licence.strip(), source.strip())
    with parts_progress() as progress:
        number = unless_stopped(build_manifest(options, out, force=force, progress=progress))
    typer.echo(with_count(number, "pair"), err=True)
    typer.echo(out)


@pairs.command()
def check(
    manifest: Annotated[Path, typer.Argument(metavar="PAIRS", help="A manifest, .csv or .jsonl.")],
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Do not report a kind of issue, such as near-duplicate; can be repeated."),
    ] = None,
    require_licence: Annotated[
        bool,
        typer.Option(
            "--require-licence", help="Report pairs without a licence as issues. By default a note counts them."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all issues as JSON.")] = False,
) -> None:
    """Find missing, corrupt and duplicate images, unusable masks and missing licences; exit with code 1 for issues.

    Images that look the same and repeated pairs are duplicates, too. Missing licences are issues only if required.
    """
    from vitsplice.cli.progress import PartsProgress
    from vitsplice.datasets.check import check as check_manifest
    from vitsplice.support.progress import ProgressReporter

    with PartsProgress() as parts:
        report = check_manifest(
            manifest, ignore=ignore or [], require_licence=require_licence, progress=ProgressReporter(parts)
        )
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    if report.issues:
        raise typer.Exit(1)


def _print(report: CheckReport) -> None:
    from vitsplice.datasets.check import KINDS

    rows = []
    for kind in KINDS:
        issues = [issue for issue in report.issues if issue.kind == kind]
        for issue in issues[:SHOWN]:
            more = f" and {issue.pairs - 1} more" if issue.pairs > 1 else ""
            rows.append((kind, f"{issue.pair}{more}", issue.message))
        if len(issues) > SHOWN:
            rows.append((kind, "-", f"... and {len(issues) - SHOWN} more; --json prints all"))
    if rows:
        print_table(("issue", "pair", "description"), rows)
    if report.notes:
        typer.echo(
            f"note: pairs without a licence: {len(report.notes)} of {report.pairs}, such as '{report.notes[0].pair}'; "
            "give the licence in the field licence, or by `pairs build --licence`; `--require-licence` makes this an "
            "issue",
            err=True,
        )
    counts = ", ".join(f"{number} {kind}" for kind, number in report.counts.items()) or "no issues"
    images = f"{with_count(report.images, 'image')} and {with_count(report.masks, 'mask')}"
    typer.echo(f"{with_count(report.pairs, 'pair')} of {images}: {counts}")
