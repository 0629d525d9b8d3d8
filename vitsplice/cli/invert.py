"""``vitsplice invert``: images optimised to have one feature of an image."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vitsplice.cli.options import DEVICE, IMAGE_HELP, OutputFolder, ReplaceResults, Seed, backbone_option
from vitsplice.cli.output import print_notes

if TYPE_CHECKING:
    from vitsplice.analysis.inversion import InversionPlan


def invert(
    context: typer.Context,
    image: Annotated[
        Path | None, typer.Argument(metavar="IMAGE", help=f"{IMAGE_HELP} Default: the packaged cat.")
    ] = None,
    out: OutputFolder = Path("vitsplice-inversions"),
    facet: Annotated[
        list[str] | None,
        typer.Option(
            help="Facet, such as cls or key; can be repeated. Default: the backbone's facets for appearance and "
            "structure."
        ),
    ] = None,
    layer: Annotated[
        list[int] | None, typer.Option(help="0 is the first layer, -1 the last (default); can be repeated.")
    ] = None,
    prior: Annotated[
        Literal["network", "pixels"] | None,
        typer.Option(
            help="Image prior: a convolutional network, or pixels with total variation. Default: pixels for global "
            "facets (cls, pooled), network for the others."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Instead of --prior: invert-official, or another preset or YAML file with a term named 'inversion'."
        ),
    ] = None,
    backbone: Annotated[str | None, backbone_option("It replaces the first backbone of the preset.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Number of steps of each inversion. Default: the preset's.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=16, help="Shorter side of the output, in pixels.")] = None,
    seed: Seed = None,
    device: Annotated[str | None, DEVICE] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the preset; can be repeated."),
    ] = None,
    force: ReplaceResults = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Resume the inversions in this folder. The only other option allowed is --force, which restarts all "
            "inversions if the image or a package has changed.",
        ),
    ] = None,
) -> None:
    """Show what single features encode: for each, an image optimised to have that feature.

    Finished parts are stored: the same command resumes where it was stopped.
    """
    from vitsplice.analysis.inversion import plan_inversions
    from vitsplice.analysis.inversion_folder import read_plan
    from vitsplice.cli.run import check_alone
    from vitsplice.images import example

    if resume is not None:
        check_alone(context, "the inversions", allowed=("force",))
        _run(read_plan(resume), resume, force=force)
        return
    plan = plan_inversions(
        image or example("cat-dog")[0], facet or (), layer or (), prior=prior, preset=preset, backbone=backbone,
        overrides=set_ or [], steps=steps, size=size, seed=seed, device=device,
    )  # fmt: skip
    _run(plan, out, force=force)


def _run(plan: InversionPlan, out: Path, *, force: bool) -> None:
    """Carry out the inversions that are not finished, then write the contact sheet."""
    from vitsplice.analysis.inversion_folder import inversion_folder, read_inversions, record_inversion, save_sheet
    from vitsplice.cli.run import follow

    print_notes(plan.substitutions, "SUBSTITUTION")
    resume_command = f"vitsplice invert --resume {shlex.quote(str(out))}"
    with inversion_folder(plan, out, force=force):
        for number, request in enumerate(plan.settings, 1):
            typer.echo(f"{request.label(plan.layers)}, {number} of {len(plan.settings)}", err=True)
            recording = record_inversion(plan, request, out)
            if recording is None:
                typer.echo("already finished", err=True)
                continue
            with recording:
                stop_requested = follow(recording, resume_command)
            if stop_requested and number < len(plan.settings):
                typer.echo(f"stopped before the next inversion; resume with: {resume_command}", err=True)
                raise typer.Exit(130)
        typer.echo(save_sheet(read_inversions(plan, out), out))
