"""``vitsplice bench``: benchmarks on this machine, most of them as ratios."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vitsplice.cli.options import AsJson, backbone_option
from vitsplice.cli.output import print_json, print_wide


class BenchmarkName(StrEnum):
    """Names of the benchmarks, as in `vitsplice.tools.bench.BENCHMARKS`.

    An enum, because typer does not accept ``list[Literal[...]]``.
    """

    PROCESSES = "processes"
    STEPS = "steps"
    PASSES = "passes"
    RUN = "run"


def bench(
    part: Annotated[
        list[BenchmarkName] | None,
        typer.Option(
            help="Benchmark; can be repeated. Default: all. processes: a run alone, and two at once. steps: steps of "
            "official, paper and the Splice terms of quick, relative to a plain loop of official with a backbone pass "
            "for each image of each term. passes: forward and backward passes of a backbone, relative to matrix "
            "multiplication. run: parts of a run (load, start, stages, metrics), and the share of each backbone."
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Preset of the benchmarks run and processes, on the packaged pair.")
    ] = "quick",
    backbone: Annotated[
        str | None,
        backbone_option("Default: for run and processes those of --preset, for steps and passes that of official."),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, max=1000, help="For the benchmark steps: number of timed steps of each loop.")
    ] = 8,
    preset_steps: Annotated[
        int | None,
        typer.Option(min=0, help="For run and processes: number of steps of a run. Default: the preset's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time presets and backbones on this machine: steps, passes, parts of a run, two runs at once. Takes minutes."""
    from vitsplice.presets.settings import settings_for
    from vitsplice.tools import bench as benchmarks

    results = benchmarks.bench(
        settings_for(preset, backbone=backbone, steps=preset_steps),
        _run_command(preset, backbone, preset_steps),
        backbone,
        steps,
        part or list(BenchmarkName),
        note=lambda description: typer.echo(f"measuring {description}", err=True),
        done=lambda name, result: None if as_json else PRINTERS[name](result),
    )
    if as_json:
        print_json(results)


def _run_command(preset: str, backbone: str | None, steps: int | None) -> Callable[[Path], Sequence[str]]:
    command = [sys.executable, "-m", "vitsplice", "run", "--preset", preset]
    command += ["--backbone", backbone] if backbone else []
    command += [] if steps is None else ["--steps", str(steps)]
    return lambda folder: [*command, "--out", str(folder)]


def _show_machine(machine: dict[str, Any]) -> None:
    typer.echo(f"{machine['threads']} threads on the CPU, torch {machine['torch']}")


def _show_steps(steps: list[dict[str, Any]]) -> None:
    from vitsplice.tools.bench import SIZE

    typer.echo(f"\nsteps at {SIZE} px")
    rows = []
    for step in steps:
        ratio = step["of_plain"]
        ratios = f"{ratio['median']:.2f} ({ratio['minimum']:.2f} to {ratio['maximum']:.2f})"
        rows.append([step["loop"], f"{step['seconds']:.3f}", ratios])
    print_wide(["loop", "seconds per step", "ratio to the plain loop (minimum to maximum)"], rows)


def _show_passes(passes: dict[str, Any]) -> None:
    typer.echo(f"\nbackbone {passes['backbone']}")
    for precision, rate in passes["matmul_gflops"].items():
        share = passes["share_of_matmul_rate"][precision]
        typer.echo(f"{precision}: matrix multiplication {rate:.0f} GFLOP/s, the backbone reaches {share:.0%} of it")
    for title, key in (("height and width in px", "seconds_by_size"), ("number of views", "seconds_by_views")):
        row = ", ".join(f"{name}: {seconds:.3f}" for name, seconds in passes[key].items())
        typer.echo(f"seconds of a forward and backward pass, by {title}: {row}")


def _show_run(run: dict[str, Any]) -> None:
    typer.echo(f"\na run of {run['preset']}")
    backbones = list(dict.fromkeys(name for part in run["parts"] for name in part["backbones"]))
    rows = []
    for part in run["parts"]:
        seconds, steps = part["seconds"], part["steps"]
        pass_seconds = [part["backbones"].get(name, 0.0) for name in backbones]
        shares = [f"{time / seconds:.0%}" if time else "" for time in (*pass_seconds, seconds - sum(pass_seconds))]
        per_step = f"{seconds / steps:.3f}" if steps else ""
        rows.append([part["name"], f"{seconds:.1f}", str(steps or ""), per_step, *shares])
    print_wide(["part", "seconds", "steps", "s per step", *backbones, "other"], rows)
    typer.echo("percentages: time in passes of each backbone; other: the rest, including passes for metrics")


def _show_processes(processes: dict[str, Any]) -> None:
    typer.echo()
    for title, key in (("one run", "one"), ("two runs at once", "two")):
        times = processes[key]
        typer.echo(
            f"{title}: {times['seconds']:.1f} s, {times['cpu_seconds']:.1f} CPU seconds, "
            f"largest process {times['peak_memory_mib']:.0f} MiB"
        )
    typer.echo(f"two runs at once take {processes['two_to_one']:.2f} times as long as one")


PRINTERS: dict[str, Callable[[Any], None]] = {
    "machine": _show_machine,
    "steps": _show_steps,
    "passes": _show_passes,
    "run": _show_run,
    "processes": _show_processes,
}
