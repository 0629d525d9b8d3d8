"""``vitsplice batch``: many pairs, on this machine or many."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.wording import backbone_option

STOPPING = b"\nstopping: runs keep where they stand, and the same command goes on; once more ends them at once\n"


def batch(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="List of pairs: .csv or .jsonl with id, structure, appearance.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for all runs; a batch that it holds is resumed.")],
    preset: Annotated[
        list[str] | None, typer.Option(help="Name of a preset, or a YAML file; repeat it for several. Default: quick.")
    ] = None,
    backbone: Annotated[list[str] | None, backbone_option("Repeat it for several.")] = None,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Seed of a run; repeat it for several.")] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Number of steps, in place of the preset's.")] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Resize all images to this shorter side first, in pixels.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. plots=none."),
    ] = None,
    executor: Annotated[str, typer.Option(help="Executor of the runs (see `vitsplice list executors`).")] = "local",
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="One option of the executor.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Number of runs at a time; 0: the executor's default.")] = 0,
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads of each run; 0: as when the batch began, or the executor's default.")
    ] = 0,
    retries: Annotated[int, typer.Option(min=0, help="Number of further attempts at a run that failed.")] = 1,
) -> None:
    """Run every pair of a list with every preset, backbone and seed; the same command again resumes."""
    from vitsplice.batch import plan
    from vitsplice.batch.drive import carry_out
    from vitsplice.cli.interrupt import Interrupt
    from vitsplice.cli.progress import BatchProgress
    from vitsplice.datasets import count
    from vitsplice.errors import UserError
    from vitsplice.options import complete, parse
    from vitsplice.plugins import catalogue
    from vitsplice.text import printable

    spec = catalogue().executor(executor)
    options = complete(spec, parse(option or [], "--option"), "--option")
    variants = plan.variants(
        preset or ["quick"], backbone or [], seed or [], steps=steps, size=size, overrides=set_ or []
    )
    total = count(pairs) * len(variants)
    if not total:
        raise UserError(f"{printable(str(pairs))} has no pairs")
    plan.make_folder(out)
    made = spec.build(workers, threads or plan.threads_of(out), options)

    def stop() -> None:
        os.write(2, STOPPING)  # unlike print, safe in the middle of anything
        plan.stop(out)

    typer.echo(f"{total} runs by the executor {executor}, CPU threads of each: {made.threads}", err=True)
    with Interrupt(stop) as interrupt, BatchProgress(total) as progress:
        tally = carry_out(
            out,
            pairs,
            variants,
            made,
            total,
            retries=retries,
            stopped=lambda: interrupt.asked,
            told=progress.show,
        )
    progress.summarise(tally, out, stopped=interrupt.asked)
    if interrupt.asked and tally.left:
        raise typer.Exit(130)
    if tally.failures:
        raise typer.Exit(1)
