"""``vitsplice run``: one image from two."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.wording import DEVICE, IMAGE_HELP, backbone_option, message, notes

if TYPE_CHECKING:
    from vitsplice.cli.progress import Progress
    from vitsplice.runs.recorder import Recording


def run(
    context: typer.Context,
    structure: Annotated[
        Path | None,
        typer.Argument(
            metavar="STRUCTURE", help=f"Image that gives the structure. {IMAGE_HELP} Without images: the packaged pair."
        ),
    ] = None,
    appearance: Annotated[
        Path | None, typer.Argument(metavar="APPEARANCE", help=f"Image that gives the appearance. {IMAGE_HELP}")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the output and its records.")] = Path(
        "vitsplice-out"
    ),
    preset: Annotated[str, typer.Option(help="Name of a preset (see `vitsplice presets`), or a YAML file.")] = "quick",
    backbone: Annotated[str | None, backbone_option("A backbone named here never falls back.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=0, max=10_000_000, help="Number of steps, in place of the preset's.")
    ] = None,
    structure_strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            help="Factor of the terms that compare with the structure image; 1 is as the preset has it. "
            "With instant: of its detail and local contrast.",
        ),
    ] = None,
    appearance_strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            help="Factor of the terms that compare with the appearance image, likewise. "
            "With instant: above 1 its colours are exaggerated.",
        ),
    ] = None,
    structure_mask: Annotated[
        Path | None,
        typer.Option(
            help="Image as large as STRUCTURE: the output may differ where it is white; grey blends. The alpha of a "
            "cut-out is its mask. Edges are feathered: --set mask.feather=0 leaves them hard."
        ),
    ] = None,
    appearance_mask: Annotated[
        Path | None,
        typer.Option(help="Image as large as APPEARANCE: the appearance is taken where it is white, likewise."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, max=16384, help="Resize both images to this shorter side first, in pixels.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of all random numbers: the same seed gives the same bytes.")
    ] = None,
    device: Annotated[str | None, DEVICE] = None,
    precision: Annotated[str | None, typer.Option(help="Precision of the backbone: auto, float32 or bfloat16.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. terms.structure.weight=2."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run that the folder holds.")] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Resume the run in this folder. With it only --set of what does not change the output: metrics, "
            "plots, previews, checkpoint.",
        ),
    ] = None,
) -> None:
    """Transfer the appearance of one image to the structure of another."""
    if resume is not None:
        _resume(context, resume, set_ or [])
        return
    from vitsplice.presets.settings import settings_for
    from vitsplice.runs.recorder import Recording

    pair = _pair(structure, appearance)
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
    images = {"structure": pair[0], "appearance": pair[1]}
    masks = {"structure_mask": structure_mask, "appearance_mask": appearance_mask}
    images |= {role: mask for role, mask in masks.items() if mask is not None}
    with Recording.begin(images, settings, out, force=force) as recording:
        follow(recording)


def _resume(context: typer.Context, path: Path, overrides: list[str]) -> None:
    """Go on with a run; one that is finished has its answer already."""
    from vitsplice.errors import AlreadyFinished
    from vitsplice.runs.recorder import Recording

    alone(context, "resume", "the run", but="set_")
    try:
        recording = Recording.resume(path, overrides=overrides)
    except AlreadyFinished as finished:
        notes([message(finished)])
        return
    with recording:
        follow(recording)


def alone(context: typer.Context, option: str, what: str, but: str = "") -> None:
    """Raise unless the option is the only one on the command line, but for one; it goes on with what was begun."""
    sources = {name: context.get_parameter_source(name) for name in context.params if name not in (option, but)}
    if given := [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]:
        option_names = {one.name: max(one.opts, key=len) for one in context.command.params}
        raise typer.BadParameter(
            f"--{option} goes on with the images and settings of {what}; leave out {option_names[given[0]]}"
        )


def _pair(structure: Path | None, appearance: Path | None) -> tuple[Path, Path]:
    """The images of the run: the two that were given, or the packaged pair."""
    from vitsplice.images import example

    if structure is not None and appearance is not None:
        return structure, appearance
    if structure is None and appearance is None:
        return example()
    raise typer.BadParameter("give both images, STRUCTURE and APPEARANCE, or neither for the packaged pair")


def follow(recording: Recording, again: str = "") -> None:
    """Take the steps, with progress, and save; exits with 130 if the user stopped them.

    Args:
        recording: begun or resumed.
        again: the command that goes on; "" is that of a single run.
    """
    from vitsplice.cli.interrupt import Interrupt
    from vitsplice.cli.progress import Progress

    progress = Progress(recording.run, again or f"vitsplice run --resume {shlex.quote(str(recording.folder.path))}")
    with Interrupt() as interrupt:
        try:
            with progress:
                for step in recording.steps(progress.note):
                    progress.step(step)
                    if interrupt.asked:
                        break
        except Exception:
            _save_what_there_is(recording, progress)
            raise
        recording.keep(progress.note)
        result = recording.save()
    progress.metrics(result)
    progress.saved(recording.folder, finished=result.finished)
    if not result.finished:
        raise typer.Exit(130)


def _save_what_there_is(recording: Recording, progress: Progress) -> None:
    """Keep the image of a run that failed; if that fails too, say so and leave the first error to be told."""
    from vitsplice.errors import VitspliceError

    try:
        recording.save()
    except VitspliceError as error:
        progress.note(f"the image so far could not be kept: {message(error)}")
    else:
        progress.saved(recording.folder)
