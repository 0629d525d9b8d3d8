"""``vitsplice evaluate``: metrics over a set of pairs, for one or more methods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.options import DEVICE, OutputFolder, SummaryAsJson, backbone_option
from vitsplice.cli.output import option, print_json, print_notes, print_wide
from vitsplice.text import printable


def evaluate(
    methods: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=FOLDER...",
            help="A method and the folder of its outputs: images FOLDER/ID.png (or .jpg, .webp, .tif ...), run folders "
            "FOLDER/ID, or a folder of `vitsplice batch`.",
        ),
    ],
    pairs: Annotated[
        Path | None, typer.Option(help="Manifest of the pairs, .csv or .jsonl. Required.", metavar="FILE")
    ] = None,
    out: OutputFolder = Path("vitsplice-evaluation"),
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric of `vitsplice list metrics`; can be repeated. Default: all.")
    ] = None,
    backbone: Annotated[
        str | None,
        backbone_option("For metrics that work with any backbone. Default: the first backbone of the default preset."),
    ] = None,
    optimised: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD=BACKBONE",
            help="Backbone that a method used in its losses; replaces those in its run records. none: no backbone. "
            "Can be repeated. Metrics that measure with the same network are marked.",
        ),
    ] = None,
    device: Annotated[str, DEVICE] = "auto",
    as_json: SummaryAsJson = False,
    force: Annotated[bool, typer.Option("--force", help="Replace another evaluation in the output folder.")] = False,
) -> None:
    """Evaluate methods over a set of pairs: means with intervals, tests between methods, ranks, and a gallery.

    Finished parts are stored: the same command resumes where it was stopped.
    """
    if pairs is None:
        raise typer.BadParameter("give the manifest of the pairs with --pairs FILE")

    from vitsplice.cli.progress import parts_progress, unless_stopped
    from vitsplice.evaluation import report
    from vitsplice.evaluation.evaluate import evaluate
    from vitsplice.evaluation.plan import GALLERY, EvaluationPlan, parse_method

    parsed = tuple(map(parse_method, methods))
    plan = EvaluationPlan(pairs, parsed, tuple(metric or ()), backbone, device, _optimised_backbones(optimised or []))
    with parts_progress() as progress:
        summary = unless_stopped(evaluate(plan, out, force=force, progress=progress))
    if as_json:
        print_json(summary.to_json())
        return
    print_wide(*report.score_table(summary))
    typer.echo(report.LEGEND)
    print_notes(report.warnings(summary, option), "WARNING")
    print_notes(report.missing_values(summary))
    typer.echo(out / GALLERY)


def _optimised_backbones(options: list[str]) -> dict[str, tuple[str, ...]]:
    """Parse ``METHOD=BACKBONE`` options to the names of backbones by method; ``METHOD=none`` gives ()."""
    optimised: dict[str, list[str]] = {}
    for text in options:
        method, _, backbone = text.partition("=")
        if not method or not backbone:
            raise typer.BadParameter(f"--optimised takes METHOD=BACKBONE, or METHOD=none, not '{printable(text)}'")
        optimised.setdefault(method, []).append(backbone)
    for method, backbones in optimised.items():
        if "none" in backbones and len({*backbones}) > 1:
            raise typer.BadParameter(f"--optimised {printable(method)}=none contradicts the backbones given for it")
    return {method: tuple(name for name in backbones if name != "none") for method, backbones in optimised.items()}
