"""``vitsplice train``: train one generator for many pairs of images."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.options import DEVICE, Seed
from vitsplice.cli.output import print_notes
from vitsplice.support.progress import NULL_REPORTER

if TYPE_CHECKING:
    from vitsplice.cli.progress import StepProgress
    from vitsplice.training.plan import TrainingPlan
    from vitsplice.training.recorder import TrainingRecorder

METRIC_COLUMNS = ("output", "start", "unchanged")
"""Columns of the metrics on held-out pairs."""


def train(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of photographs of one domain, which are paired by similarity, or of one subfolder for each "
            "domain; or a manifest of pairs (.csv or .jsonl).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="MODEL", help="Folder of the model. Required.")
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="A preset for training (splicenet, splicenet-residual), or a YAML file with the setting 'training'."
        ),
    ] = "splicenet-residual",
    steps: Annotated[
        int | None, typer.Option(min=1, max=10_000_000, help="Number of steps, in place of the preset's.")
    ] = None,
    partners: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Maximum number of appearance images for each structure image; no effect if SOURCE is a manifest.",
        ),
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            min=0, max=0.9, help="Fraction of the images that is held out, to measure the model on. 0: no image."
        ),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Start from the weights of this model, in place of random ones."),
    ] = None,
    licence: Annotated[
        str, typer.Option(help="Licence of the model, for its record. It depends on the licence of the photographs.")
    ] = "",
    seed: Seed = None,
    device: Annotated[str | None, DEVICE] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. training.batch=8; can be repeated."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder of cached features of the photographs. Default: 'training' in $VITSPLICE_CACHE or, if that is "
            "not set, in 'vitsplice' in $XDG_CACHE_HOME or ~/.cache."
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write losses and previews for TensorBoard to MODEL/tensorboard.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace the training in the folder of the model. If that training is unfinished and has the same "
            "source and settings, resume from its last checkpoint if possible.",
        ),
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Resume the training in this folder, or from one of its checkpoints, MODEL/checkpoint/*.json. "
            "The only other option allowed is --tensorboard.",
        ),
    ] = None,
) -> None:
    """Train one generator on many pairs of images, for `vitsplice apply`.

    To train in several processes, start this command with `accelerate launch` or `torchrun`.
    """
    from vitsplice.cli.run import check_alone
    from vitsplice.support.checkpoints import folder_and_checkpoint
    from vitsplice.training.plan import TrainingPlan

    if resume is not None:
        check_alone(context, "the training", allowed=("tensorboard",))
        folder, checkpoint = folder_and_checkpoint(resume)
        _train(TrainingPlan.read(folder), folder, checkpoint, force=False, tensorboard=tensorboard)
        return
    if source is None or out is None:
        raise typer.BadParameter(
            "give photographs or a manifest, and the folder of the model: vitsplice train SOURCE -o MODEL"
        )
    from vitsplice.presets.settings import check_given_once, settings_for
    from vitsplice.training.parts import check_training

    options = {name: value for name, value in (("partners", partners), ("held_out", held_out)) if value is not None}
    check_given_once({f"training.{name}": name for name in options}, set_ or [])
    overrides = [*(set_ or []), *(f"training.{name}={value}" for name, value in options.items())]
    preset_settings = settings_for(preset)
    check_training(preset_settings)  # before an override such as training.batch=8 adds the setting 'training'
    settings = settings_for(preset_settings, steps=steps, seed=seed, device=device, overrides=overrides)
    plan = TrainingPlan.create(source, settings, licence=licence, cache=cache, initial=initial)
    _train(plan, out, None, force=force, tensorboard=tensorboard)


def _train(plan: TrainingPlan, out: Path, checkpoint: Path | None, *, force: bool, tensorboard: bool) -> None:
    """Prepare and train in the folder of the model; exit with 130 if the user stopped the work."""
    from vitsplice.cli.progress import parts_progress, unless_stopped
    from vitsplice.training.begin import begin_or_resume
    from vitsplice.training.processes import processes_on
    from vitsplice.training.tensorboard import TensorBoard

    processes = processes_on(plan.settings.device)
    with plan.locked_folder(out, force=force) if processes.main else nullcontext(out) as folder:
        processes.wait()
        if plan.finished(folder) and not force:
            if processes.main:
                advice = "to replace it, repeat the command that began it, with --force"
                print_notes([f"the training in {folder} is finished; {advice}"])
            return
        board = TensorBoard(folder) if tensorboard and processes.main else None
        with parts_progress() if processes.main else nullcontext(NULL_REPORTER) as progress:
            prepared = begin_or_resume(
                plan, folder, processes, checkpoint=checkpoint, force=force, tensorboard=board, progress=progress
            )
            stopped_late = prepared is not None and processes.any(progress.stopped())
            if stopped_late and not processes.main:
                raise typer.Exit(130)
            recorder = unless_stopped(None if stopped_late else prepared)
        _follow(recorder)


def display_of(recorder: TrainingRecorder, clock: Callable[[], float] = perf_counter) -> StepProgress:
    """Return the display of the steps of a training; only that of the main process prints anything."""
    from vitsplice.cli.progress import StepProgress

    training = recorder.training
    return StepProgress(training.parts.config.steps, recorder.resumed_at, clock, quiet=not training.processes.main)


def _follow(recorder: TrainingRecorder) -> None:
    """Take the steps, show their progress, and write the model; exit with 130 if the user stopped the training."""
    from vitsplice.cli.interrupt import Interrupt
    from vitsplice.cli.progress import parts_progress

    processes, steps = recorder.training.processes, recorder.training.parts.config.steps
    display = display_of(recorder)
    with Interrupt() as interrupt, display:
        introduce(recorder, display)
        for step in recorder.steps(display.note):
            display.step(step)
            if processes.any(interrupt.requested):
                break
    reporter = parts_progress(stopped=interrupt.requested) if processes.main else nullcontext(NULL_REPORTER)
    with Interrupt(), reporter as progress:
        try:
            written = recorder.finish(progress)
        finally:  # once one process exits with 130, a launcher stops the main process, which may be writing
            processes.wait()
    if not (recorder.finished and recorder.measured):
        if processes.main:
            taken = recorder.training.next
            state = "the model is written" if written else "the checkpoint or the model could not be written"
            when = "before its metrics were measured" if recorder.finished else f"after {taken} of {steps} steps"
            typer.echo(f"stopped {when}; {state}", err=True)
            typer.echo(f"resume with: vitsplice train --resume {shlex.quote(str(recorder.folder))}", err=True)
        raise typer.Exit(130)
    if processes.main:
        _summarise(recorder)
        typer.echo(recorder.folder)


def introduce(recorder: TrainingRecorder, display: StepProgress) -> None:
    """Print generator, backbones, numbers of steps and pairs, seed, and the resumed step."""
    training = recorder.training
    parts, config = training.parts, training.parts.config
    weights = sum(parameter.numel() for parameter in training.generator.parameters())
    display.note(f"generator {parts.generator_spec.name}, {weights / 1e6:.1f} million weights, on {config.device}")
    display.introduce_backbones(sized.backbone for sized in parts.recipe.backbones.values())
    batches = f"{parts.training.accumulation} batches of " if parts.training.accumulation > 1 else ""
    processes = f" in each of {training.processes.count} processes" if training.processes.count > 1 else ""
    display.note(f"{config.steps} steps of {batches}{parts.training.batch} pairs{processes}, seed {config.seed}")
    if recorder.resumed_at:
        display.note(f"resuming after step {recorder.resumed_at}")


def _summarise(recorder: TrainingRecorder) -> None:
    """Print the metrics on held-out pairs, and how to apply the model."""
    means = {name: mean for name, mean in recorder.metrics.items() if isinstance(mean, dict)}
    if means:
        legend = "lower is better; start: the warm start; unchanged: the structure image"
        typer.echo(f"metrics of {recorder.metrics['pairs']} held-out pairs; {legend}", err=True)
        typer.echo(_row("", METRIC_COLUMNS), err=True)
    for name, mean in means.items():
        typer.echo(_row(name, ["-" if mean[key] is None else f"{mean[key]:.3g}" for key in METRIC_COLUMNS]), err=True)
    folder = shlex.quote(str(recorder.folder))
    typer.echo(f"apply the model with: vitsplice apply {folder} STRUCTURE APPEARANCE -o out.png", err=True)


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<20}" + "".join(f"{cell:>11}" for cell in cells)
