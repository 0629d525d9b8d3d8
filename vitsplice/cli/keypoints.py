"""``vitsplice keypoints``: benchmarks of semantic correspondence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vitsplice.cli.options import DEVICE, IMAGE_HELP, OutputFolder, SummaryAsJson, backbone_option
from vitsplice.cli.output import print_json, print_notes, print_wide
from vitsplice.text import printable

EVERY_LAYER = "all"


def keypoints(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER | IMAGE...",
            help="A data set in the layout of SPair-71k or PF-PASCAL, or images to match under synthetic warps. "
            f"{IMAGE_HELP} Default: the four packaged images.",
        ),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        backbone_option(
            "Can be repeated; an untrained backbone is a control. Default: the first backbone of the default preset."
        ),
    ] = None,
    facet: Annotated[
        list[str] | None,
        typer.Option(
            help="key, query, value, token or map; can be repeated. Default: the backbone's facet for structure."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="0 is the first layer, -1 the last, all is every layer; can be repeated. Default: -1.", metavar="LAYER"
        ),
    ] = None,
    alpha: Annotated[
        list[float] | None,
        typer.Option(
            help="Threshold of PCK as a fraction of a reference length: the longer side of the object (SPair-71k) or "
            "of the image (other data); can be repeated. Default: 0.05, 0.1 and 0.15.",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set. Default: test.")] = None,
    subset: Annotated[
        Literal["large", "small"] | None, typer.Option(help="List of pairs of SPair-71k. Default: large.")
    ] = None,
    appearance: Annotated[
        str | None,
        typer.Option(help="Appearance transform of warped images: jitter, grey, blur or none. Default: jitter."),
    ] = None,
    size: Annotated[
        int,
        typer.Option(
            min=64,
            max=2048,
            help="Images are resized to an area of about SIZE x SIZE pixels, preserving the aspect ratio.",
        ),
    ] = 448,
    out: OutputFolder = Path("vitsplice-keypoints"),
    device: Annotated[str, DEVICE] = "auto",
    as_json: SummaryAsJson = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a benchmark of other data, size, device or versions.")
    ] = False,
) -> None:
    """Measure how many keypoints are matched correctly by features (PCK), on a data set or synthetic warps.

    Finished pairs are stored: the same command resumes a stopped benchmark.
    A command with more backbones, facets, layers or thresholds measures only what is new.
    """
    from vitsplice.cli.progress import parts_progress, unless_stopped
    from vitsplice.keypoints import KeypointBenchmark, load_dataset, report, run_benchmark
    from vitsplice.keypoints.benchmark import ALPHAS

    data = load_dataset(sources or (), split, subset, appearance)
    benchmark = KeypointBenchmark(
        data, tuple(backbone or ()), tuple(facet or ()), _layers(layer or ["-1"]), tuple(alpha or ALPHAS), size, device
    )
    with parts_progress() as progress:
        summary = unless_stopped(run_benchmark(benchmark, out, force=force, progress=progress))
    if as_json:
        print_json(summary.to_json())
        return
    print_wide(*report.score_table(summary))
    typer.echo(report.legend(summary))
    print_notes(report.notes(summary))
    typer.echo(out / report.MARKDOWN)


def _layers(values: list[str]) -> tuple[int, ...]:
    """Return the numbers of layers; () for all layers."""
    numbers = tuple(_layer(value) for value in values if value != EVERY_LAYER)
    return () if EVERY_LAYER in values else numbers


def _layer(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise typer.BadParameter(f"--layer takes whole numbers or {EVERY_LAYER}, not {printable(value)}") from None
