"""``vitsplice bench``: how fast things go on this machine, as ratios."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from vitsplice.cli.wording import backbone_option


def bench(
    backbone: Annotated[str | None, backbone_option("Without it: the presets' own, or their fallback.")] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="How many steps of each loop are timed.")] = 8,
    quick_steps: Annotated[
        int | None, typer.Option(min=0, help="Cut the preset quick to so many steps; without it: all of them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time steps of the presets beside a plain loop of the published recipe, in one run. Takes some minutes."""
    from vitsplice.tools.bench import bench as measured

    found = measured(backbone, steps, quick_steps, told=lambda what: typer.echo(f"measuring {what}", err=True))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    machine = found["machine"]
    console.print(f"backbone {machine['backbone']}, {machine['threads']} threads on the CPU, torch {machine['torch']}")
    table = Table("a step at 224 px", "seconds", "of the plain loop (least to most)", box=None)
    for step in found["steps"]:
        share = step["of_plain"]
        parts = f"{share['median']:.2f} ({share['least']:.2f} to {share['most']:.2f})"
        table.add_row(step["loop"], f"{step['seconds']:.3f}", parts)
    console.print(table)
    for precision, rate in found["matmul_gflops"].items():
        share = found["backbone_share_of_matmul_rate"][precision]
        console.print(f"{precision}: matrix multiplication {rate:.0f} GFLOP/s, the backbone reaches {share:.0%} of it")
    for title, key in (("side in px", "pass_seconds_by_size"), ("views", "pass_seconds_by_views")):
        row = ", ".join(f"{name}: {seconds:.3f} s" for name, seconds in found[key].items())
        console.print(f"a forward and backward pass by {title}: {row}")
    row = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found["quick_seconds"].items())
    console.print(f"preset quick on the packaged pair: {row}")
    console.print(f"peak memory of all this: {found['peak_memory_mib']:.0f} MiB")
