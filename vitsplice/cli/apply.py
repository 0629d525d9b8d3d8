"""``vitsplice apply``: apply a trained model to images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.options import DEVICE, IMAGE_HELP, image_and_weight
from vitsplice.cli.output import message, print_notes
from vitsplice.text import printable

if TYPE_CHECKING:
    from vitsplice.batch.transfers import Applied

SHOWN = 10
"""Maximum number of failures that are printed."""


def apply(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder, written by `vitsplice train`.")],
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STRUCTURE... APPEARANCE",
            help=f"Structure images, or folders of them, and one appearance image. {IMAGE_HELP}",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Output folder. For a single output also the name of a .png file."),
    ] = Path("vitsplice-applied"),
    mix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGE:WEIGHT",
            help="Appearance images with weights, in place of APPEARANCE, such as --mix A.png:0.3 B.png:0.7.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="PAIRS", help="Manifest of pairs, .csv or .jsonl, in place of images; outputs are ID.png."
        ),
    ] = None,
    device: Annotated[str, DEVICE] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            help="Precision of the backbone: auto, float32 or bfloat16. Default: float32 if the model was "
            "trained in float32, or else auto."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace files that have the name of an output, but are from another model or other images."
        ),
    ] = False,
) -> None:
    """Apply a trained model: about a second for an image, without any optimisation.

    In an output folder, apply.jsonl records the model and the images of each output, and the same command resumes
    where it was stopped.
    """
    from vitsplice.batch.transfer_plan import plan_in, transfers_of_images, transfers_of_manifest
    from vitsplice.batch.transfers import apply_model
    from vitsplice.cli.progress import parts_progress
    from vitsplice.errors import UserError
    from vitsplice.models.loading import load_model

    structures: list[Path] = []
    if manifest is not None:
        if images or mix:
            raise typer.BadParameter("give either images or --manifest, not both")
        transfers = transfers_of_manifest(manifest)
    else:
        structures, appearance = _images(images or [], mix or [])
        transfers = transfers_of_images(structures, appearance)
    if not transfers:
        raise UserError("there are no images to apply the model to")
    plan = plan_in(out, transfers, structures)
    plan.check(force=force)
    loaded = load_model(model, device=device, precision=precision)
    with parts_progress() as progress:
        applied = apply_model(loaded, plan, force=force, progress=progress)
    report_applied(applied, len(transfers), "the same command resumes the work")
    typer.echo(out)


def _images(words: list[str], mix: list[str]) -> tuple[list[Path], list[tuple[Path, float]]]:
    """Divide arguments into structure images and appearance images with weights.

    With ``--mix``, arguments ``IMAGE:WEIGHT`` belong to the mix too, because the option itself takes only one value.
    """
    if not mix:
        if len(words) < 2:
            raise typer.BadParameter("give at least one structure image and an appearance image")
        return [Path(word) for word in words[:-1]], [(Path(words[-1]), 1.0)]
    further_mix = [word for word in words if not os.path.exists(word) and ":" in word]
    structures = [Path(word) for word in words if word not in further_mix]
    if not structures:
        raise typer.BadParameter("give at least one structure image before --mix")
    if len(structures) > 1 and len(mix) + len(further_mix) == 1:
        raise typer.BadParameter(
            f"the mix has one image; {printable(str(structures[-1]))}, without :WEIGHT, is a structure image; give "
            "each image of the mix as IMAGE:WEIGHT, or leave out --mix and put the appearance image last"
        )
    return structures, [image_and_weight(text) for text in (*mix, *further_mix)]


def report_applied(applied: Applied, total: int, advice: str) -> None:
    """Print failures and the number of outputs written; exit with 130 if the user stopped the work, 1 after a failure.

    Args:
        applied: the outcome.
        total: number of outputs.
        advice: how to continue, printed if the work was stopped.

    Raises:
        VitspliceError: the error of the output, if there is only one and it failed.
    """
    failures = list(applied.failures.items())
    if failures and total == 1:
        raise failures[0][1]
    print_notes((f"{name}: {message(error)}" for name, error in failures[:SHOWN]), "not written")
    if len(failures) > SHOWN:
        typer.echo(f"and {len(failures) - SHOWN} more", err=True)
    if applied.trained_on:
        example = printable(min(applied.trained_on.values()).name)
        print_notes([f"the model was trained on {len(applied.trained_on)} of these images, such as {example}"])
    existing = f", {applied.skipped} existed already" if applied.skipped else ""
    typer.echo(f"{applied.written} of {total} outputs written{existing}", err=True)
    if applied.stopped:
        typer.echo(f"stopped; {advice}", err=True)
        raise typer.Exit(130)
    if failures:
        raise typer.Exit(1)
