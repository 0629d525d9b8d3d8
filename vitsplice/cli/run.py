"""``vitsplice run``: one picture from two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.wording import PICTURE

if TYPE_CHECKING:
    from vitsplice.api import Run
    from vitsplice.cli.progress import Progress
    from vitsplice.report.artifacts import RunFolder


def run(
    structure: Annotated[
        Path | None,
        typer.Argument(
            metavar="STRUCTURE", help=f"Its structure is kept. {PICTURE} Without pictures: the packaged pair."
        ),
    ] = None,
    appearance: Annotated[
        Path | None, typer.Argument(metavar="APPEARANCE", help=f"Its look is transferred. {PICTURE}")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the output and its records.")] = Path(
        "vitsplice-out"
    ),
    preset: Annotated[str, typer.Option(help="Name of a preset (see `vitsplice presets`), or a YAML file.")] = "quick",
    backbone: Annotated[
        str | None, typer.Option(help="Name of a backbone. A backbone named here never falls back.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="How many steps.")] = None,
    structure_strength: Annotated[
        float | None,
        typer.Option(min=0, max=10, help="How much the structure image counts; 1 is as the preset has it."),
    ] = None,
    appearance_strength: Annotated[
        float | None, typer.Option(min=0, max=10, help="How much the appearance image counts, likewise.")
    ] = None,
    structure_mask: Annotated[
        Path | None, typer.Option(help="Picture as large as STRUCTURE: the output may differ where it is white.")
    ] = None,
    appearance_mask: Annotated[
        Path | None, typer.Option(help="Picture as large as APPEARANCE: the look is taken where it is white.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Bring both pictures to this shorter side first, in pixels.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same bytes.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="Of the backbone: auto, float32 or bfloat16.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. terms.structure.weight=2."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run that the folder holds.")] = False,
) -> None:
    """Transfer the appearance of one picture to the structure of another."""
    from vitsplice.api import Run, settings_for
    from vitsplice.cli.progress import Progress
    from vitsplice.report.artifacts import RunFolder

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
    RunFolder.check(out, force=force)
    started = Run(*pair, settings, structure_mask=structure_mask, appearance_mask=appearance_mask)
    folder = RunFolder.create(out, force=force)
    finished = _follow(started, folder, Progress(started))
    if not finished:
        raise typer.Exit(130)


def _pair(structure: Path | None, appearance: Path | None) -> tuple[Path, Path]:
    """The pictures of the run: the two that were given, or the packaged pair."""
    from vitsplice.images import example

    if structure is not None and appearance is not None:
        return structure, appearance
    if structure is None and appearance is None:
        return example()
    raise typer.BadParameter("give both pictures, STRUCTURE and APPEARANCE, or neither for the packaged pair")


def _follow(run: Run, folder: RunFolder, progress: Progress) -> bool:
    """Take the steps, with progress and previews, and save; False if the user stopped them."""
    from vitsplice.cli.interrupt import Interrupt

    with Interrupt() as interrupt:
        try:
            folder.begin(run.settings)
            with progress:
                for step in run.steps():
                    _preview(run, folder, progress, step.index + 1)
                    progress.step(step)
                    if interrupt.asked:
                        break
        except Exception:
            _save_what_there_is(run, folder, progress)
            raise
        result = run.result()
        folder.save(result)
    progress.figures(result)
    progress.saved(folder, finished=result.finished)
    return result.finished


def _preview(run: Run, folder: RunFolder, progress: Progress, taken: int) -> None:
    """Write a preview where one is due; one that cannot be written is told, and the run goes on."""
    from vitsplice.errors import VitspliceError

    if run.settings.previews and taken % run.settings.previews == 0:
        try:
            progress.note(f"preview {folder.preview(taken, run.pixels())}")
        except VitspliceError as error:
            progress.note(f"no preview: {error}")


def _save_what_there_is(run: Run, folder: RunFolder, progress: Progress) -> None:
    """Keep the picture of a run that failed; if that fails too, say so and leave the first error to be told."""
    from vitsplice.errors import VitspliceError

    try:
        folder.save(run.result())
    except VitspliceError as error:
        progress.note(f"the picture so far could not be kept: {error}")
    else:
        progress.saved(folder)
