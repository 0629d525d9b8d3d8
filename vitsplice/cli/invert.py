"""``vitsplice invert``: what one feature of an image holds, as an image."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.wording import DEVICE, IMAGE_HELP, backbone_option

if TYPE_CHECKING:
    from vitsplice.analysis.inversion import Plan


class Prior(StrEnum):
    """What holds the image together where the feature says nothing."""

    network = "network"
    pixels = "pixels"


def invert(
    context: typer.Context,
    image: Annotated[
        Path | None, typer.Argument(metavar="IMAGE", help=f"{IMAGE_HELP} Without one: a packaged cat.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the images and their records.")] = Path(
        "vitsplice-inversions"
    ),
    facet: Annotated[
        list[str] | None,
        typer.Option(help="cls, key, ...; several make a sheet. Without it: cls and key, or the like."),
    ] = None,
    layer: Annotated[
        list[int] | None, typer.Option(help="0 is the first, -1 the last (the default); several make a sheet.")
    ] = None,
    prior: Annotated[
        Prior | None,
        typer.Option(
            help="A network that makes images out of noise, or pixels with total variation. Without it: pixels for "
            "cls and pooled, the network for the others."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="In place of --prior: invert-official, or a YAML file with a term 'inversion'.")
    ] = None,
    backbone: Annotated[str | None, backbone_option("In place of the preset's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Number of steps.")] = None,
    size: Annotated[int | None, typer.Option(min=16, help="Shorter side of the output, in pixels.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    device: Annotated[str | None, DEVICE] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the preset.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what the folder holds.")] = False,
    resume: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Go on with the inversions in this folder; no other option.")
    ] = None,
) -> None:
    """Make images that share nothing with an image but one feature each: what that feature holds.

    Finished parts are stored: the same command resumes where it was stopped.
    """
    from vitsplice.analysis import inversion
    from vitsplice.cli.run import check_alone

    if resume is not None:
        check_alone(context, "resume", "inversions")
        _carry_out(inversion.checked(inversion.read_plan(resume)), resume, force=False)
        return
    from vitsplice.engine.backbones import load_configured
    from vitsplice.errors import UserError
    from vitsplice.images import example
    from vitsplice.plugins import catalogue
    from vitsplice.presets.settings import settings_for

    if preset is not None and prior is not None:
        raise UserError("give --prior or --preset, not both: a prior is one of the presets invert and invert-pixels")
    chosen = inversion.PRESETS[prior.value] if prior else preset
    named = [one for one in set_ or [] if one.startswith("backbone")]
    plain = settings_for(chosen or inversion.PRESETS["network"], backbone=backbone, overrides=named)
    network, _ = load_configured(plain.backbone, catalogue())
    settings = {
        request: inversion.settings_of(
            request, chosen,
            backbone=backbone, steps=steps, size=size, seed=seed, device=device, overrides=set_ or [],
        )
        for request in inversion.requests_of(network.info, facet or (), layer or ())
    }  # fmt: skip
    plan = inversion.Plan(image or example("cat-dog")[0], settings, network.info.layers)
    _carry_out(plan, out, force=force)


def _carry_out(plan: Plan, out: Path, *, force: bool) -> None:
    """Invert what is not inverted yet, then draw the sheet of all."""
    from vitsplice.analysis import inversion
    from vitsplice.cli.run import follow

    with inversion.begun(plan, out, force=force):
        for number, request in enumerate(plan.settings, 1):
            typer.echo(f"{request.label(plan.layers)}, {number} of {len(plan.settings)}", err=True)
            recording = inversion.recording(plan, request, out)
            if recording is None:
                typer.echo("done already", err=True)
                continue
            with recording:
                follow(recording, resume_command=f"vitsplice invert --resume {shlex.quote(str(out))}")
        typer.echo(inversion.save_sheet(inversion.finished(plan, out), out))
