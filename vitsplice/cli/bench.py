"""``vitsplice bench``: benchmarks on this machine, as ratios."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from vitsplice.cli.options import AsJson, backbone_option


def bench(
    backbone: Annotated[str | None, backbone_option("Without it: that of the presets, or its fallback.")] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Number of timed steps of each loop.")] = 8,
    quick_steps: Annotated[
        int | None, typer.Option(min=0, help="Number of steps of the preset quick; without it: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time the steps of presets against a plain loop of the published recipe. This takes some minutes."""
    from vitsplice.tools import bench as benchmarks

    results = benchmarks.bench(
        backbone, steps, quick_steps, note=lambda name: typer.echo(f"measuring {name}", err=True)
    )
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        _show(results)


def _show(results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    machine = results["machine"]
    console.print(f"backbone {machine['backbone']}, {machine['threads']} threads on the CPU, torch {machine['torch']}")
    table = Table("a step at 224 px", "seconds", "ratio to the plain loop (minimum to maximum)", box=None)
    for step in results["steps"]:
        ratio = step["of_plain"]
        cells = f"{ratio['median']:.2f} ({ratio['minimum']:.2f} to {ratio['maximum']:.2f})"
        table.add_row(step["loop"], f"{step['seconds']:.3f}", cells)
    console.print(table)
    for precision, rate in results["matmul_gflops"].items():
        fraction = results["backbone_share_of_matmul_rate"][precision]
        console.print(
            f"{precision}: matrix multiplication {rate:.0f} GFLOP/s, the backbone reaches {fraction:.0%} of it"
        )
    for title, key in (("side in px", "pass_seconds_by_size"), ("views", "pass_seconds_by_views")):
        row = ", ".join(f"{name}: {seconds:.3f} s" for name, seconds in results[key].items())
        console.print(f"a forward and backward pass by {title}: {row}")
    row = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in results["quick_seconds"].items())
    console.print(f"preset quick on the packaged pair: {row}")
    console.print(f"peak memory: {results['peak_memory_mib']:.0f} MiB")
