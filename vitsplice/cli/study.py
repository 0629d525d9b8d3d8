"""``vitsplice study``: which of two outputs people prefer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vitsplice.study.analyse import Analysis

study = typer.Typer(help="Ask people which of two outputs they prefer, and analyse it.", no_args_is_help=True)


@study.command()
def make(
    manifest: Annotated[Path, typer.Argument(help="Pairs, as CSV or JSON lines; a pair's source is its set.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, such as study.html.")],
    method: Annotated[
        list[str],
        typer.Option(metavar="NAME=FOLDER", help="Outputs: FOLDER/ID.png, .jpg or FOLDER/ID/output.png. Two or more."),
    ],
    question: Annotated[str | None, typer.Option(help="Without it: which better shows A's structure, B's look.")] = None,
    title: Annotated[str | None, typer.Option(help="Of the page; raters see it.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="A rater, without checks; else all there are, to 40.")] = None,
    checks: Annotated[int, typer.Option(min=0, help="Trials a rater of which the right answer is known.")] = 3,
    size: Annotated[int, typer.Option(min=64, max=4096, help="Longer side of the pictures in the page, in px.")] = 512,
    min_view: Annotated[float, typer.Option(min=0, max=60, help="Seconds before a trial can be answered.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the checks, and of every rater's order with their id.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a page that is there.")] = False,
) -> None:
    """Write one page that asks, of two methods at a time, whose output is better; it needs no network."""
    from rich.console import Console
    from rich.progress import Progress

    from vitsplice.study import page
    from vitsplice.study.make import QUESTION, TITLE, Settings
    from vitsplice.study.make import make as made
    from vitsplice.study.trials import method as parsed
    from vitsplice.text import one_line

    target = page.check(out, force=force)
    settings = Settings(question or QUESTION, title or TITLE, trials, checks, size, min_view, seed)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading pictures")
        found = made(
            manifest,
            [parsed(text) for text in method],
            settings,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    text = page.render(found)
    page.write(target, text)
    for note in found.notes:
        typer.echo(f"note: {one_line(note)}", err=True)
    key = found.key
    typer.echo(
        f"study {key['study']}: {len(key['pairs'])} pairs, {len(key['methods'])} methods; a rater has {key['trials']} "
        f"trials and {len(key['checks'])} checks; {len(text) / 1e6:.1f} MB",
        err=True,
    )
    typer.echo(target)
