"""``vitsplice bench``: benchmarks on this machine, most of them as ratios."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitsplice.cli.options import AsJson, backbone_option
from vitsplice.cli.output import print_json

if TYPE_CHECKING:
    from rich.console import Console


class Part(StrEnum):
    """Names of the benchmarks, as in `vitsplice.tools.bench.PARTS`."""

    PROCESSES = "processes"
    STEPS = "steps"
    PASSES = "passes"
    RUN = "run"


def bench(
    part: Annotated[
        list[Part] | None,
        typer.Option(
            help="Benchmark; can be repeated; without it: all. processes: a run alone, and two at once. steps: those "
            "of presets against a plain loop of the published recipe. passes: those of a backbone against matrix "
            "multiplication. run: the stages of a run, and the share of each backbone."
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="Preset of run and processes, on the packaged pair.")] = "quick",
    backbone: Annotated[str | None, backbone_option("Default: those of the presets, or their fallbacks.")] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Number of timed steps of each loop.")] = 8,
    preset_steps: Annotated[
        int | None, typer.Option(min=0, help="Number of steps of the preset; without it: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time presets on this machine: their steps, stages and backbones, and two runs at once. All take some minutes."""
    from vitsplice.presets.settings import settings_for
    from vitsplice.tools import bench as benchmarks

    results = benchmarks.bench(
        settings_for(preset, backbone=backbone, steps=preset_steps),
        _run_command(preset, backbone, preset_steps),
        backbone,
        steps,
        part or list(Part),
        note=lambda name: typer.echo(f"measuring {name}", err=True),
    )
    if as_json:
        print_json(results)
    else:
        _show(results)


def _run_command(preset: str, backbone: str | None, steps: int | None) -> Callable[[Path], Sequence[str]]:
    command = [sys.executable, "-m", "vitsplice", "run", "--preset", preset]
    command += ["--backbone", backbone] if backbone else []
    command += [] if steps is None else ["--steps", str(steps)]
    return lambda folder: [*command, "--out", str(folder)]


def _show(results: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    machine = results["machine"]
    console.print(f"{machine['threads']} threads on the CPU, torch {machine['torch']}")
    for part in filter(results.get, SHOW):
        console.print()
        SHOW[part](console, results[part])


def _show_steps(console: Console, steps: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table("a step at 224 px", "seconds", "ratio to the plain loop (minimum to maximum)", box=None)
    for step in steps:
        ratio = step["of_plain"]
        cells = f"{ratio['median']:.2f} ({ratio['minimum']:.2f} to {ratio['maximum']:.2f})"
        table.add_row(step["loop"], f"{step['seconds']:.3f}", cells)
    console.print(table)


def _show_passes(console: Console, passes: dict[str, Any]) -> None:
    console.print(f"backbone {passes['backbone']}")
    for precision, rate in passes["matmul_gflops"].items():
        share = passes["share_of_matmul_rate"][precision]
        console.print(f"{precision}: matrix multiplication {rate:.0f} GFLOP/s, the backbone reaches {share:.0%} of it")
    for title, key in (("side in px", "seconds_by_size"), ("views", "seconds_by_views")):
        row = ", ".join(f"{name}: {seconds:.3f} s" for name, seconds in passes[key].items())
        console.print(f"a forward and backward pass by {title}: {row}")


def _show_run(console: Console, run: dict[str, Any]) -> None:
    from rich.table import Column, Table

    backbones = list(dict.fromkeys(name for part in run["parts"] for name in part["backbones"]))
    passes_columns = [Column(name, overflow="fold") for name in backbones]
    table = Table(f"a run of {run['preset']}", "seconds", "steps", "s per step", *passes_columns, "other", box=None)
    for part in run["parts"]:
        seconds, steps = part["seconds"], part["steps"]
        passes = [part["backbones"].get(name, 0.0) for name in backbones]
        shares = [f"{time / seconds:.0%}" if time else "" for time in (*passes, seconds - sum(passes))]
        table.add_row(
            part["name"], f"{seconds:.1f}", str(steps or ""), f"{seconds / steps:.3f}" if steps else "", *shares
        )
    console.print(table)
    console.print("shares of the time in forward and backward passes of each backbone; other: generator, losses, views")


def _show_processes(console: Console, processes: dict[str, Any]) -> None:
    for title, number in (("one run", "one"), ("two runs at once", "two")):
        times = processes[number]
        console.print(
            f"{title}: {times['seconds']:.1f} s, {times['cpu_seconds']:.1f} CPU seconds, "
            f"largest process {times['peak_memory_mib']:.0f} MiB"
        )
    console.print(f"two runs at once take {processes['two_to_one']:.2f} times as long as one")


SHOW: dict[str, Callable[[Console, Any], None]] = {
    "steps": _show_steps,
    "passes": _show_passes,
    "run": _show_run,
    "processes": _show_processes,
}
