"""``vitsplice batch``: run many pairs, on this machine or on several."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from vitsplice.cli.options import backbone_option

STOPPING = (
    "\nstopping: unfinished runs write checkpoints; the same command resumes the batch. Press Ctrl-C again to end now"
)


def batch(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="Manifest: .csv or .jsonl with id, structure, appearance.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for all runs. If it holds a batch, that is resumed.")
    ],
    preset: Annotated[
        list[str] | None,
        typer.Option(help="Name of a preset, a YAML file, or a model folder; can be repeated. Default: quick."),
    ] = None,
    backbone: Annotated[
        list[str] | None, backbone_option("It replaces the first backbone of the preset; can be repeated.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(min=0, help="Seed of the runs; can be repeated. Default: the preset's.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Number of steps, in place of the preset's.")] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Resize all images to this shorter side, in pixels, before each run.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. plots=none; can be repeated."),
    ] = None,
    executor: Annotated[str, typer.Option(help="Executor of the runs (see `vitsplice list executors`).")] = "local",
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="One option of the executor; can be repeated.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Number of runs at a time; 0: the executor's default.")] = 0,
    threads: Annotated[
        int,
        typer.Option(
            min=0, max=4096, help="CPU threads of each run; 0: those of a resumed batch, or the executor's default."
        ),
    ] = 0,
    retries: Annotated[int, typer.Option(min=0, help="Number of further attempts at a run that failed.")] = 1,
) -> None:
    """Run every pair of a manifest with every preset, backbone and seed; the same command resumes a stopped batch."""
    from vitsplice.batch import plan
    from vitsplice.batch.driver import run_batch
    from vitsplice.cli.interrupt import Interrupt, announce
    from vitsplice.cli.progress import BatchProgress
    from vitsplice.datasets import count
    from vitsplice.errors import UserError
    from vitsplice.options import complete, parse
    from vitsplice.plugins import catalogue
    from vitsplice.plugins.build import build_part
    from vitsplice.text import printable, with_count

    spec = catalogue().executors[executor]
    options = complete(spec, parse(option or [], "--option"), "--option ")
    variants = plan.variants(
        preset or ["quick"], backbone or [], seed or [], steps=steps, size=size, overrides=set_ or []
    )
    pair_count = count(pairs)
    if not pair_count:
        raise UserError(f"{printable(str(pairs))} has no pairs")
    total = pair_count * len(variants)
    built_executor = build_part(spec, workers, threads or plan.stored_threads(out), options)
    lock_held = Event()

    def stop() -> None:
        if lock_held.is_set():
            plan.request_stop(out)
        announce(STOPPING)

    threads_of_run = with_count(built_executor.threads, "CPU thread")
    typer.echo(f"{with_count(total, 'run')} by executor {executor}, {threads_of_run} each", err=True)
    with Interrupt(stop) as interrupt, BatchProgress(total) as progress:
        tally = run_batch(
            out,
            pairs,
            variants,
            built_executor,
            pair_count,
            retries=retries,
            on_lock=lock_held.set,
            stopped=lambda: interrupt.requested,
            report=progress.show,
        )
    stopped = tally.unfinished > 0 and (interrupt.requested or tally.stopped > 0)
    progress.summarise(tally, out, stopped=stopped)
    if stopped:
        raise typer.Exit(130)
    if tally.failures:
        raise typer.Exit(1)
