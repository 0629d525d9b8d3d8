"""``vitsplice study``: human preference studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.output import print_notes, print_wide
from vitsplice.text import one_line, with_count

if TYPE_CHECKING:
    from vitsplice.study.analysis import StudyAnalysis

study = typer.Typer(no_args_is_help=True)


@study.command()
def make(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS",
            help="A manifest, .csv or .jsonl. Pairs with the same value of the field 'source' form a set; with several "
            "sets, `study analyse` also compares the methods within each.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, such as study.html.")],
    method: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FOLDER",
            help="Name of a method and the folder of its outputs: for each pair, an image FOLDER/ID.png (or .jpg, "
            ".webp, .tif ...) or a run folder FOLDER/ID; or a folder of `vitsplice batch`. Give this option for each "
            "method, at least twice.",
        ),
    ],
    question: Annotated[
        str | None,
        typer.Option(
            help="Question that raters answer in each trial. Default: which image better shows the structure of A with "
            "the appearance of B."
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Title of the page, visible to raters. Default: Comparing images.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of trials for each rater, not counting checks. Default: one for every pair of methods on "
            "every pair of images, but at most 40.",
        ),
    ] = None,
    checks: Annotated[
        int, typer.Option(min=0, help="Additional trials for each rater, with a known right answer.")
    ] = 3,
    size: Annotated[
        int,
        typer.Option(min=64, max=4096, help="Maximum length of the longer side of the images in the page, in pixels."),
    ] = 512,
    min_view: Annotated[
        float,
        typer.Option(min=0, max=60, help="Seconds before a trial can be answered; values below 0.25 act as 0.25."),
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the checks and of the order of trials.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing page and its plan.")] = False,
) -> None:
    """Write an HTML page that asks which of two outputs is better, and the plan that `study analyse` requires.

    The plan is written beside the page. The page contains all images and needs no network.
    """
    from vitsplice.cli.progress import PartsProgress
    from vitsplice.evaluation.plan import parse_method
    from vitsplice.study.build import QUESTION, TITLE, StudySettings, build_study
    from vitsplice.study.plan import plan_path
    from vitsplice.support.output_folder import check_file

    target = check_file(out, "page, such as study.html", force=force)
    check_file(plan_path(target), "page, such as study.html, whose plan is written beside it", force=force)
    settings = StudySettings(question or QUESTION, title or TITLE, trials, checks, size, min_view, seed)
    methods = [parse_method(text) for text in method]
    with PartsProgress() as display:
        page = build_study(manifest, methods, settings, lambda done, total: display("reading images", done, total))
    page_bytes, plan = page.write(target), page.plan
    print_notes(page.notes)
    typer.echo(
        f"study {plan.study}: {with_count(len(plan.pairs), 'pair')}, {with_count(len(plan.methods), 'method')}; "
        f"{with_count(plan.trials, 'trial')} and {with_count(len(plan.checks), 'check')} for each rater; "
        f"the page has {page_bytes / 1e6:.1f} MB",
        err=True,
    )
    typer.echo(f"plan for the analysis, not for raters: {plan_path(target)}", err=True)
    typer.echo(target)


@study.command()
def analyse(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="Result files, or folders of them.")],
    plan: Annotated[
        Path | None,
        typer.Option(help="Plan that `study make` wrote beside the page. Required.", metavar="STUDY.plan.json"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for analysis.json, analysis.csv and analysis.md. Default: only print."
        ),
    ] = None,
    max_failed: Annotated[
        int, typer.Option(min=0, help="Number of checks that a rater may fail without being excluded.")
    ] = 0,
    min_ms: Annotated[
        float, typer.Option(min=0, help="Exclude raters whose median time for a trial is below this, in milliseconds.")
    ] = 800,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing analysis.")] = False,
) -> None:
    """Compute how often each method was preferred, with intervals, tests and the agreement of raters.

    Results of another study are excluded and listed, and so are incomplete, altered and duplicate results, results with
    too many failed checks, too short times or the same side in every answer, and files that are not results.
    """
    if plan is None:
        raise typer.BadParameter("give the plan with --plan, such as --plan study.plan.json for study.html")
    from vitsplice.study.analysis import analyse_study
    from vitsplice.study.plan import read_plan
    from vitsplice.study.report import FILES, report_files
    from vitsplice.study.results import read_results, unread_files
    from vitsplice.support import output_folder
    from vitsplice.support.input_files import check_inputs_survive

    target = None if out is None else output_folder.check(out, FILES, "an analysis", force=force)
    study_plan, (rater_results, excluded) = read_plan(plan), read_results(results)
    if target is not None:
        check_inputs_survive([plan, *(result.source for result in rater_results)], (target / name for name in FILES))
    analysis = analyse_study(study_plan, rater_results, excluded, max_failed=max_failed, min_ms=min_ms, seed=seed)
    _show(analysis)
    if unread := unread_files(results):
        number = with_count(len(unread), "other file")
        print_notes([f"not read: {number} in the folders, such as {unread[0]}; names of results end in .json"])
    if target is not None:
        output_folder.write(target, report_files(analysis))
        typer.echo(target / FILES[-1])


def _show(analysis: StudyAnalysis) -> None:
    from vitsplice.study import report

    typer.echo(f"study {one_line(analysis.study)}: {one_line(analysis.question)}")
    typer.echo(report.summary_line(analysis))
    print_wide(report.COMPARISON_COLUMNS, [report.comparison_cells(comparison) for comparison in analysis.comparisons])
    if analysis.preferences:
        print_wide(
            report.PREFERENCE_COLUMNS, [report.preference_cells(preference) for preference in analysis.preferences]
        )
    typer.echo(
        "in a publication, report the interval over raters; the interval over trials and the p values assume that "
        "trials are independent"
    )
    print_notes(analysis.notes)
    print_notes(analysis.excluded, "excluded")
