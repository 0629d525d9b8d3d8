"""``vitsplice keypoints``: semantic correspondence as a benchmark."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.wording import DEVICE, IMAGE_HELP, backbone_option, notes

if TYPE_CHECKING:
    from vitsplice.keypoints.summary import Summary

ALL = "all"


class Subset(StrEnum):
    """The lists of pairs that SPair-71k has."""

    large = "large"
    small = "small"


def keypoints(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER | IMAGE_HELP...",
            help="A data set in the layout of SPair-71k or PF-PASCAL; or images, which are warped and found again. "
            f"{IMAGE_HELP} Without: the packaged four.",
        ),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        backbone_option("Give several; an untrained one is a control. Without: that of the default preset."),
    ] = None,
    facet: Annotated[
        list[str] | None,
        typer.Option(help="key, query, value, token or map; give several. Without: the backbone's own."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="0 is the first, -1 the last; give several, or all.", metavar="N", show_default="-1"),
    ] = None,
    alpha: Annotated[
        list[float] | None,
        typer.Option(
            help="Threshold of PCK, as a part of the longer side of the object or image; give several.",
            show_default="0.05, 0.1, 0.15",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set.", show_default="test")] = None,
    subset: Annotated[Subset | None, typer.Option(help="List of pairs of SPair-71k.", show_default="large")] = None,
    change: Annotated[
        str | None,
        typer.Option(help="Change of colours of warped images: jitter, grey, blur or none.", show_default="jitter"),
    ] = None,
    size: Annotated[
        int, typer.Option(min=64, max=2048, help="Backbones look at about so many pixels a side, aspect kept.")
    ] = 448,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the metrics.")] = Path("vitsplice-keypoints"),
    device: Annotated[str, DEVICE] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what the folder holds of other data.")] = False,
) -> None:
    """Find keypoints of one image again in another by features: PCK on SPair-71k, PF-PASCAL or known warps.

    Finished parts are stored: the same command resumes where it was stopped, and one with more backbones, facets or
    layers measures only those that are new.
    """
    import json

    from vitsplice.cli.progress import parts_progress, unless_stopped
    from vitsplice.keypoints import Plan, benchmark, find
    from vitsplice.keypoints.benchmark import ALPHAS

    data = find(sources or (), split, subset.value if subset else None, change)
    plan = Plan(
        data, tuple(backbone or ()), tuple(facet or ()), _layers(layer or ["-1"]), tuple(alpha or ALPHAS), size, device
    )
    with parts_progress() as progress:
        summary = unless_stopped(benchmark(plan, out, force=force, progress=progress))
    if as_json:
        typer.echo(json.dumps(summary.plain(), indent=2))
        return
    _show(summary)
    typer.echo(out / "summary.md")


def _layers(given: list[str]) -> tuple[int, ...]:
    if ALL in given:
        return ()
    try:
        return tuple(int(number) for number in given)
    except ValueError:
        raise typer.BadParameter(f"--layer takes whole numbers, or {ALL}: {', '.join(given)}") from None


def _show(summary: Summary) -> None:
    """The table on standard output, and on standard error what does not count."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vitsplice.keypoints import tables

    heads = [head for head in tables.head(summary) if head != tables.ALONE]
    shown = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
    for column, name in zip(shown.columns, heads, strict=True):
        column.overflow, column.min_width = "fold", len(name)
    for row in tables.rows(summary):
        shown.add_row(*(Text(cell) for cell, head in zip(row, tables.head(summary), strict=True) if head in heads))
    Console().print(shown, Text(tables.legend(summary), style="italic"))
    notes(tables.notes(summary))
