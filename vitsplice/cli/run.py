"""``vitsplice run``: transfer the appearance of one or several images to the structure of another."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.options import (
    DEVICE,
    IMAGE_HELP,
    AppearanceMasks,
    Appearances,
    Precision,
    Seed,
    WeightedAppearances,
    backbone_option,
    masks_of,
    with_weights,
)
from vitsplice.cli.output import error_message, message, print_notes
from vitsplice.errors import AlreadyFinished, NonFiniteLoss, VitspliceError

if TYPE_CHECKING:
    from vitsplice.cli.run_progress import RunProgress
    from vitsplice.runs.artifacts import RunFolder
    from vitsplice.runs.recorder import Recording


def run(
    context: typer.Context,
    structure: Annotated[
        Path | None,
        typer.Argument(
            metavar="STRUCTURE", help=f"Image that gives the structure. {IMAGE_HELP} Without images: the packaged pair."
        ),
    ] = None,
    appearance: Appearances = None,
    weighted: WeightedAppearances = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the output and its records.")] = Path(
        "vitsplice-out"
    ),
    preset: Annotated[
        str, typer.Option(help="Name of a preset (see `vitsplice presets`), a YAML file, or a model folder.")
    ] = "quick",
    backbone: Annotated[
        str | None, backbone_option("It replaces the first backbone of the preset and the fallbacks of that backbone.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=0, max=10_000_000, help="Number of steps, in place of the preset's.")
    ] = None,
    structure_strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            help="Factor of the weights of the terms that compare the output with the structure image or the start "
            "image. With instant: strength of the structure image's detail.",
        ),
    ] = None,
    appearance_strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            help="Factor of the weights of the terms that compare the output with the appearance image; below 1 it "
            "also weakens the start image. With instant: 0 gives the structure image; above 1 exaggerates colours.",
        ),
    ] = None,
    structure_mask: Annotated[
        Path | None,
        typer.Option(
            help="Mask as large as STRUCTURE: the output may differ from STRUCTURE where the mask is white; grey "
            "blends both. If its alpha channel varies, that channel is the mask. Edges are feathered, unless "
            "--set mask.feather=0."
        ),
    ] = None,
    appearance_mask: AppearanceMasks = None,
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MASK=IMAGE[:MASK]",
            help="In the white area of the first mask (as large as STRUCTURE), use only this appearance image (file "
            "name, or number from 1); of that image, use only the white area of the second mask, if given. Repeatable; "
            "later regions lie over earlier ones. If both masks are in colour, each colour is a region.",
        ),
    ] = None,
    auto_regions: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=20,
            metavar="N",
            help="Propose regions: N parts of the foreground that the images have in common, and the background. "
            "Writes label images, which can be edited, to the folder 'regions' in the output folder.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=16, max=16384, help="Resize all images to this shorter side, in pixels, before the run."),
    ] = None,
    seed: Seed = None,
    device: Annotated[str | None, DEVICE] = None,
    precision: Precision = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one setting, e.g. optimiser.lr=0.001; can be repeated."
        ),
    ] = None,
    lut: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.cube", help="Also write the change of colours as a 3D LUT for grading software and video."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run in the output folder, and the file of --lut.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Resume the run in this folder, or from one of its checkpoints, OUT/checkpoint/*.json. The "
            "only other options allowed are --lut (also with --force), and --set of metrics, plots, previews and "
            "checkpoint.",
        ),
    ] = None,
) -> None:
    """Transfer the appearance of one or several images to the structure of another."""
    if resume is not None:
        _resume(context, resume, set_ or [], lut, force)
        return
    from vitsplice.images import read_mask
    from vitsplice.luts import check_cube
    from vitsplice.presets.settings import settings_for
    from vitsplice.runs.artifacts import RunFolder
    from vitsplice.runs.inputs import named_inputs, parse_region
    from vitsplice.runs.lut import checked_mask_of_lut
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
        if structure_mask is not None:
            checked_mask_of_lut(read_mask(structure_mask).pixels[0], settings.size)
    backbones = None
    if auto_regions is not None:
        from vitsplice.analysis.auto_regions import propose_for_run
        from vitsplice.engine.backbones import BackboneCache

        backbones = BackboneCache()  # shared by the proposal and the run
        proposed, messages = propose_for_run(
            images, auto_regions, settings, out, weights=weights, regions=regions, force=force, backbones=backbones
        )
        print_notes(messages)
        regions = [*proposed, *regions]
    folder = RunFolder(out)
    with nullcontext() if folder.has_begun() else _resume_advice(folder, _resume_command(out, lut)):
        recording = Recording.begin(
            images, settings, out, weights=weights, regions=regions, force=force, backbones=backbones
        )
    with recording:
        follow(recording, lut=lut)


def _resume(context: typer.Context, path: Path, overrides: list[str], lut: Path | None, force: bool) -> None:
    """Resume a run; if it is finished, only print notes."""
    from vitsplice.luts import check_cube
    from vitsplice.runs.artifacts import RunFolder
    from vitsplice.runs.lut import checked_mask_of_lut
    from vitsplice.runs.recorder import Recording
    from vitsplice.support.checkpoints import folder_and_checkpoint

    check_alone(context, "the run", allowed=("set_", "lut", "force") if lut else ("set_",))
    if lut is not None:
        check_cube(lut, force=force)
    try:
        recording = Recording.resume(path, overrides=overrides)
    except AlreadyFinished as finished:
        print_notes([message(finished)])
        if lut is not None:
            output = RunFolder(folder_and_checkpoint(path)[0]).output
            command = shlex.join(["vitsplice", "lut", "fit", "STRUCTURE", str(output), "-o", str(lut)])
            advice = "resize STRUCTURE to the size of the output first; give --mask if the run had a structure mask"
            print_notes([f"no LUT is written; fit one to the finished run: {command}; {advice}"])
        return
    with recording:
        run = recording.run
        if lut is not None and "structure" in run.masks:
            checked_mask_of_lut(run.masks["structure"].pixels[0], run.settings.size)
        follow(recording, lut=lut)


def check_alone(context: typer.Context, work: str, allowed: Sequence[str] = ()) -> None:
    """Raise BadParameter if --resume is combined with any argument or option that is not ``allowed``."""
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if source and source.name == "COMMANDLINE" and parameter.name not in ("resume", *allowed):
            name = max(parameter.opts, key=len)
            raise typer.BadParameter(f"--resume uses the images and settings of {work}; leave out {name}")


def _images(structure: Path | None, appearances: list[Path]) -> tuple[Path, list[Path]]:
    """Return the given structure image and appearance images, or the packaged pair if none is given."""
    from vitsplice.images import example

    if structure is not None and appearances:
        return structure, appearances
    if structure is None and not appearances:
        packaged = example()
        return packaged[0], [packaged[1]]
    raise typer.BadParameter("give STRUCTURE and at least one APPEARANCE, or neither for the packaged pair")


def _resume_command(folder: Path, lut: Path | None) -> str:
    """Return the command that resumes the run in a folder and, unless ``lut`` is None, writes a LUT."""
    command = f"vitsplice run --resume {shlex.quote(str(folder))}"
    return f"{command} --lut {shlex.quote(str(lut))}{' --force' if os.path.exists(lut) else ''}" if lut else command


@contextmanager
def _resume_advice(folder: RunFolder, command: str) -> Iterator[None]:
    """Print the command that resumes the run in a folder if KeyboardInterrupt ends the block after the run has begun.

    Within an `Interrupt`, a second Ctrl-C or SIGTERM raises it; elsewhere, Ctrl-C does.
    """
    try:
        yield
    except KeyboardInterrupt:
        if folder.has_begun():
            print_notes([command], "resume with")
        raise


def follow(recording: Recording, resume_command: str = "", lut: Path | None = None) -> bool:
    """Take the steps of a run, show their progress, and save the run; exit with 130 if the user stopped it.

    Args:
        recording: recording of a run that was started or resumed.
        resume_command: command to print for a stopped run; "": ``vitsplice run --resume`` with the folder of the run.
        lut: .cube file to write, a LUT from the structure image to the output; None: no LUT is written.

    Returns:
        Whether the user asked for a stop during or after the last step. This run is finished; no other should begin.
    """
    from vitsplice.cli.interrupt import Interrupt
    from vitsplice.cli.run_progress import RunProgress

    resume_command = resume_command or _resume_command(recording.folder.path, lut)
    progress = RunProgress(recording.run, resume_command)
    with _resume_advice(recording.folder, resume_command), Interrupt() as interrupt:
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

        progress.note(f"LUT: {table['path']}; difference from the output: {ColourDifference(**table['delta_e'])}")
    progress.saved(recording.folder, finished=result.finished)
    if not result.finished:
        raise typer.Exit(130)
    return interrupt.requested


def _save_after_failure(recording: Recording, progress: RunProgress, failure: Exception) -> None:
    """Save the last good image of a run that failed. If that fails too, print a note and raise nothing."""
    try:
        recording.save()
    except Exception as error:
        progress.note(f"the image cannot be saved: {error_message(error)}")
    else:  # after a non-finite loss, a resumed run would end with the same loss
        progress.saved(recording.folder, resumable=not isinstance(failure, NonFiniteLoss))
