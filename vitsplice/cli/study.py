"""``vitsplice study``: which of two outputs people prefer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.wording import notes

if TYPE_CHECKING:
    from vitsplice.study.findings import Analysis

study = typer.Typer(help="Ask people which of two outputs they prefer, and analyse it.", no_args_is_help=True)


@study.command()
def make(
    manifest: Annotated[Path, typer.Argument(metavar="PAIRS", help="CSV or JSON lines; a pair's source is its set.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, such as study.html.")],
    method: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FOLDER",
            help="A method and the folder of its outputs: FOLDER/ID.png (or .jpg, .webp, .tif ...), run folders "
            "FOLDER/ID, or a folder of `vitsplice batch`. Two or more.",
        ),
    ],
    question: Annotated[str | None, typer.Option(help="Question asked about every two outputs.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page; raters see it.")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of each rater, checks not counted. Without it: at most 40.")
    ] = None,
    checks: Annotated[
        int, typer.Option(min=0, help="Additional trials of each rater whose right answer is known.")
    ] = 3,
    size: Annotated[
        int, typer.Option(min=64, max=4096, help="Longer side of the images in the page, in pixels.")
    ] = 512,
    min_view: Annotated[float, typer.Option(min=0, max=60, help="Seconds before a trial can be answered.")] = 0.0,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the checks and, with a rater's id, of the order of trials.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a page that is there.")] = False,
) -> None:
    """Write one page that asks, of two methods at a time, whose output is better; it needs no network."""
    from rich.console import Console
    from rich.progress import Progress

    from vitsplice.evaluation.outputs import method as parsed
    from vitsplice.study import page
    from vitsplice.study.make import QUESTION, TITLE, Settings
    from vitsplice.study.make import make as made
    from vitsplice.study.plan import beside
    from vitsplice.support.output_folder import check_file

    target = check_file(out, "page, such as study.html", force=force)
    check_file(beside(target), "plan of a page", force=force)
    settings = Settings(question or QUESTION, title or TITLE, trials, checks, size, min_view, seed)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading images")
        found = made(
            manifest,
            [parsed(text) for text in method],
            settings,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    length = page.write(target, found)
    notes(found.notes)
    key = found.key
    typer.echo(
        f"study {key['study']}: {len(key['pairs'])} pairs, {len(key['methods'])} methods; a rater has {key['trials']} "
        f"trials and {len(key['checks'])} checks; {length / 1e6:.1f} MB",
        err=True,
    )
    typer.echo(f"for the analysis, not for raters: {beside(target)}", err=True)
    typer.echo(target)


@study.command()
def analyse(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="Files of raters, or folders of them.")],
    plan: Annotated[
        Path | None,
        typer.Option(
            help="The plan, STUDY.plan.json, that `study make` wrote beside the page. Needed.", metavar="FILE"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for analysis.json, .csv and .md.")] = None,
    max_failed: Annotated[int, typer.Option(min=0, help="Checks that a rater may fail and still count.")] = 0,
    min_ms: Annotated[float, typer.Option(min=0, help="Raters with a faster median trial do not count.")] = 800,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace what the folder holds.")] = False,
) -> None:
    """How often each method was preferred, with intervals, tests and the agreement of raters.

    A result that is of another study, incomplete, altered or handed over twice does not count, and is named.
    """
    if plan is None:
        raise typer.BadParameter("give the plan with --plan, such as --plan study.plan.json beside study.html")
    from vitsplice.study import plan as plans
    from vitsplice.study.analyse import analyse as analysed
    from vitsplice.study.report import NAMES, files
    from vitsplice.study.results import read
    from vitsplice.support import output_folder as folder

    target = None if out is None else folder.check(out, NAMES, "an analysis", force=force)
    found = analysed(plans.read(plan), *read(results), max_failed=max_failed, min_ms=min_ms, seed=seed)
    _show(found)
    if target is not None:
        folder.write(target, files(found))
        typer.echo(target / NAMES[-1])


def _show(found: Analysis) -> None:
    from vitsplice.cli.tables import wide
    from vitsplice.study.report import HEAD, STANDING_HEAD, cells, percent, standing_cells
    from vitsplice.text import one_line

    typer.echo(f"study {one_line(found.study)}: {one_line(found.question)}")
    typer.echo(
        f"raters who count: {len(found.raters)}, results that do not: {len(found.excluded)}; left was chosen in "
        f"{percent(found.left)} of comparisons, which took {found.median_ms / 1000:.1f} s in the median"
    )
    wide(HEAD, [cells(comparison) for comparison in found.comparisons])
    if found.standings:
        wide(STANDING_HEAD, [standing_cells(standing) for standing in found.standings])
    typer.echo("report the interval over raters; that over trials, p and Holm's take every trial for independent")
    notes(found.notes)
    notes(found.excluded, "excluded")
