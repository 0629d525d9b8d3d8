"""``vitsplice run``: transfer the appearance of one or several images to the structure of another."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.options import (
    APPEARANCES,
    DEVICE,
    IMAGE_HELP,
    MASKS,
    WEIGHTED,
    Precision,
    Seed,
    backbone_option,
    masks_of,
    with_weights,
)
from vitsplice.cli.output import error_message, message, notes

if TYPE_CHECKING:
    from vitsplice.cli.run_progress import RunProgress
    from vitsplice.runs.recorder import Recording


def run(
    context: typer.Context,
    structure: Annotated[
        Path | None,
        typer.Argument(
            metavar="STRUCTURE", help=f"Image that gives the structure. {IMAGE_HELP} Without images: the packaged pair."
        ),
    ] = None,
    appearance: Annotated[list[Path] | None, APPEARANCES] = None,
    weighted: Annotated[list[str] | None, WEIGHTED] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the output and its records.")] = Path(
        "vitsplice-out"
    ),
    preset: Annotated[
        str, typer.Option(help="Name of a preset (see `vitsplice presets`), a YAML file, or a model folder.")
    ] = "quick",
    backbone: Annotated[
        str | None, backbone_option("It replaces the first of the preset, and never falls back.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=0, max=10_000_000, help="Number of steps, in place of the preset's.")
    ] = None,
    structure_strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            help="Factor of the weights of the terms that compare with the structure image or the start. "
            "With instant: of the structure image's detail.",
        ),
    ] = None,
    appearance_strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            help="Factor of the weights of the terms that compare with the appearance image. "
            "With instant: 0 gives the structure image; above 1, colours are exaggerated.",
        ),
    ] = None,
    structure_mask: Annotated[
        Path | None,
        typer.Option(
            help="Mask as large as STRUCTURE: the output may differ where the mask is white; grey blends. Its alpha "
            "channel, if that varies, is the mask. Edges are feathered, unless --set mask.feather=0."
        ),
    ] = None,
    appearance_mask: Annotated[list[Path] | None, MASKS] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MASK=IMAGE[:MASK]",
            help="In the white area of the first mask (as large as STRUCTURE), use only this appearance image (file "
            "name, or number from 1), and of that only the white area of the second mask, if given. Repeatable; "
            "later regions cover earlier ones. If both masks are in colour, each colour is a region.",
        ),
    ] = None,
    auto_regions: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=20,
            metavar="N",
            help="Propose regions: N parts that all images have in common, and the background. Writes label images, "
            "which can be edited, to the folder 'regions' in the output folder.",
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, max=16384, help="Resize both images to this shorter side first, in pixels.")
    ] = None,
    seed: Seed = None,
    device: Annotated[str | None, DEVICE] = None,
    precision: Precision = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. terms.structure.weight=2."),
    ] = None,
    lut: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.cube", help="Also write the change of colours as a 3D LUT for grading software and video."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run that the folder holds, and the file of --lut.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Resume the run in this folder, or from one of its checkpoints (OUT/checkpoint/step-*.json). Only "
            "--lut (also with --force), and --set of metrics, plots, previews and checkpoint, can be given with it.",
        ),
    ] = None,
) -> None:
    """Transfer the appearance of one or several images to the structure of another."""
    if resume is not None:
        _resume(context, resume, set_ or [], lut, force)
        return
    from vitsplice.engine.backbones import BackboneCache
    from vitsplice.luts import check_cube
    from vitsplice.presets.settings import settings_for
    from vitsplice.runs.inputs import named_inputs, parse_region
    from vitsplice.runs.recorder import Recording

    appearances, weights = with_weights(appearance, weighted)
    structure, appearances = _images(structure, appearances)
    settings = settings_for(
        preset,
        backbone=backbone,
        steps=steps,
        size=size,
        seed=seed,
        device=device,
        precision=precision,
        structure_strength=structure_strength,
        appearance_strength=appearance_strength,
        overrides=set_ or [],
    )
    images = named_inputs(structure, appearances, structure_mask, masks_of(appearance_mask))
    regions = [parse_region(text, len(appearances)) for text in region or []]
    if lut is not None:
        check_cube(lut, force=force)
    loader = BackboneCache() if auto_regions is not None else None  # for the proposal and the run
    if auto_regions is not None:
        from vitsplice.analysis.auto_regions import propose_for_run

        proposed, messages = propose_for_run(
            [structure, *appearances], auto_regions, settings, out, force=force, backbones=loader
        )
        notes(messages)
        regions = [*proposed, *regions]
    with Recording.begin(
        images, settings, out, weights=weights, regions=regions, force=force, backbones=loader
    ) as recording:
        follow(recording, lut=lut)


def _resume(context: typer.Context, path: Path, overrides: list[str], lut: Path | None, force: bool) -> None:
    """Resume a run; if it is finished, only print a note."""
    from vitsplice.errors import AlreadyFinished
    from vitsplice.luts import check_cube
    from vitsplice.runs.recorder import Recording

    check_alone(context, "the run", allowed=("set_", "lut", "force") if lut else ("set_",))
    if lut is not None:
        check_cube(lut, force=force)
    try:
        recording = Recording.resume(path, overrides=overrides)
    except AlreadyFinished as finished:
        notes([message(finished)])
        if lut is not None:
            notes(["no LUT written; `vitsplice lut fit STRUCTURE OUTPUT` fits one to a finished run"])
        return
    with recording:
        follow(recording, lut=lut)


def check_alone(context: typer.Context, work: str, allowed: Sequence[str] = ()) -> None:
    """Raise BadParameter if --resume is combined with any argument or option that is not ``allowed``."""
    sources = {name: context.get_parameter_source(name) for name in context.params if name not in ("resume", *allowed)}
    if given := [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]:
        option_names = {parameter.name: max(parameter.opts, key=len) for parameter in context.command.params}
        raise typer.BadParameter(f"--resume uses the images and settings of {work}; leave out {option_names[given[0]]}")


def _images(structure: Path | None, appearances: list[Path]) -> tuple[Path, list[Path]]:
    """The structure image and the appearance images that were given, or the packaged pair."""
    from vitsplice.images import example

    if structure is not None and appearances:
        return structure, appearances
    if structure is None and not appearances:
        packaged = example()
        return packaged[0], [packaged[1]]
    raise typer.BadParameter("give both images, STRUCTURE and APPEARANCE, or neither for the packaged pair")


def follow(recording: Recording, resume_command: str = "", lut: Path | None = None) -> None:
    """Take the steps with progress, and save; exit with 130 if the user stopped the run.

    Args:
        recording: recording of a run that was started or resumed.
        resume_command: command to print for a stopped run; "": ``vitsplice run --resume`` with its folder.
        lut: .cube file for the colours of the run; None: it is not written.
    """
    from vitsplice.cli.interrupt import Interrupt
    from vitsplice.cli.run_progress import RunProgress
    from vitsplice.errors import VitspliceError

    resume_command = resume_command or f"vitsplice run --resume {shlex.quote(str(recording.folder.path))}"
    if lut:
        resume_command += f" --lut {shlex.quote(str(lut))}{' --force' if os.path.exists(lut) else ''}"
    progress = RunProgress(recording.run, resume_command)
    with Interrupt() as interrupt:
        try:
            with progress:
                for step in recording.steps(progress.note):
                    progress.step(step)
                    if interrupt.requested:
                        break
        except Exception as error:
            _save_after_failure(recording, progress, error)
            raise
        try:
            result = recording.finish(progress.note, lut)
        except VitspliceError:
            if recording.folder.finished():
                progress.saved(recording.folder, finished=True)
            raise
    progress.metrics(result)
    if table := result.record.get("lut"):
        from vitsplice.luts import ColourDifference

        progress.note(f"LUT: {table['path']}; from the output: {ColourDifference(**table['delta_e'])}")
    progress.saved(recording.folder, finished=result.finished)
    if not result.finished:
        raise typer.Exit(130)


def _save_after_failure(recording: Recording, progress: RunProgress, failure: Exception) -> None:
    """Save the last good image of a run that failed; the first error is raised even if this fails."""
    from vitsplice.errors import NonFiniteLoss

    try:
        recording.save()
    except Exception as error:
        progress.note(f"the image cannot be saved: {error_message(error)}")
    else:  # the same steps would end with the same loss
        progress.saved(recording.folder, resumable=not isinstance(failure, NonFiniteLoss))
