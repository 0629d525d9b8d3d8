"""Begin or resume a training: backbones, pairs, features of all images, and the last checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from vitsplice.datasets import manifest
from vitsplice.errors import Argument, CheckpointRejected, OutputBusy
from vitsplice.models.folder import WEIGHTS
from vitsplice.support import output_folder
from vitsplice.support.checkpoints import checkpoint_files
from vitsplice.support.output_folder import REPLACE
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.text import first_line, printable, with_count
from vitsplice.training.data import TrainingData
from vitsplice.training.held_out import MAX_MEASURED, spread
from vitsplice.training.loop import Training
from vitsplice.training.pairs import SplitPairs, training_pairs
from vitsplice.training.parts import TrainingParts
from vitsplice.training.plan import CHECKPOINTS, HELD_OUT, TrainingPlan, remove_training
from vitsplice.training.prepare import prepared_data
from vitsplice.training.processes import Processes
from vitsplice.training.recorder import TrainingRecorder
from vitsplice.training.tensorboard import TensorBoard

RESTART = "\nTo restart the training, repeat the command that began it, with "

FEATURES = "appearance-features.jsonl"
"""File of appearance features and fingerprints of images, in the cache."""


def begin_or_resume(
    plan: TrainingPlan,
    folder: Path,
    processes: Processes,
    *,
    checkpoint: Path | None = None,
    force: bool = False,
    tensorboard: TensorBoard | None = None,
    progress: ProgressReporter = NULL_REPORTER,
) -> TrainingRecorder | None:
    """Prepare a training, and resume it from a checkpoint if there is one.

    What is computed from the images is stored in the cache, so that the next call resumes a stopped preparation.

    Args:
        plan: plan of the training.
        folder: folder of the model, locked by the main process (`TrainingPlan.locked_folder`).
        processes: the processes that train together.
        checkpoint: path of the JSON file of the checkpoint; None: the last checkpoint of the folder, if there is one.
        force: restart the training if it is finished, or the checkpoint cannot be used; replace another training in
            the folder, once the training of ``plan`` can begin.
        tensorboard: see `TrainingRecorder`.
        progress: reports each image and pair.

    Returns:
        The recorder of the training; None if the preparation was stopped.

    Raises:
        CheckpointRejected: without ``force``, if the checkpoint cannot be used, or is missing beside an unfinished
            model.
        VitspliceError: if a setting, an image or a backbone cannot be used.
    """
    if not force and checkpoint is None:
        _check_checkpoint_exists(plan, folder)
    settings = plan.settings.model_copy(update={"device": str(processes.device)})
    parts = TrainingParts.build(settings, plan.initial)
    for substitution in parts.substitutions.values():
        progress.note(f"SUBSTITUTION: {substitution}")
    try:
        with processes.main_first():
            prepared = _prepare(plan, parts, folder, progress)
    except OutputBusy as error:  # nothing but the cache, or a file in it, is locked above
        cache = printable(str(plan.cache_folder))
        busy = f"another process is writing to the cache {cache}; wait for it, or choose another with "
        raise OutputBusy(busy, Argument("cache")) from error
    if prepared is None:
        return None
    pairs, data, held_out = prepared
    if force:
        _change_together(lambda: plan.replace(folder), processes)
    if checkpoint is None and not checkpoint_files(folder / CHECKPOINTS) and (force or not plan.finished(folder)):
        _change_together(lambda: remove_training(folder), processes)

    def restored(path: Path | None) -> TrainingRecorder:
        training = Training(parts, data, processes)
        recorder = TrainingRecorder(folder, training, held_out, plan.licence, tensorboard)
        recorder.restore(path)
        return recorder

    recorder = None
    try:
        recorder = restored(checkpoint)
    except CheckpointRejected as error:
        if not force:
            raise CheckpointRejected(*error.parts, RESTART, REPLACE) from error
        progress.note(f"restarted: {first_line(error)}")
    if recorder is None:
        _change_together(lambda: remove_training(folder), processes)
        recorder = restored(None)
    if pairs.held_out and processes.main:
        manifest.write(folder / HELD_OUT, pairs.held_out)
    return recorder


def _check_checkpoint_exists(plan: TrainingPlan, folder: Path) -> None:
    """Raise CheckpointRejected for a model that is unfinished or unreadable, and has no checkpoint."""
    if (folder / WEIGHTS).exists() and not checkpoint_files(folder / CHECKPOINTS) and not plan.finished(folder):
        model = f"{printable(str(folder))} holds a model, but no checkpoint to resume its training from"
        raise CheckpointRejected(model, RESTART, REPLACE)


def _change_together(change: Callable[[], object], processes: Processes) -> None:
    """Call ``change`` in the main process, after all processes have read the folder and before any continues."""
    processes.wait()
    if processes.main:
        change()
    processes.wait()


def _prepare(
    plan: TrainingPlan, parts: TrainingParts, folder: Path, progress: ProgressReporter
) -> tuple[SplitPairs, TrainingData, TrainingData] | None:
    """Select the pairs and compute their features.

    Returns the pairs, the training data and the held-out data, or None if the progress reporter stopped the work.
    """
    cache, recipe = plan.cache_folder, parts.recipe
    backbone, precision = recipe.matching_backbone.backbone, recipe.matching_precision
    output_folder.create(cache)
    trained = parts.initial.images if parts.initial else frozenset()
    pairs = training_pairs(
        plan.source, parts.training, backbone, parts.device, cache / FEATURES, progress, trained, precision=precision
    )
    if pairs is None:
        return None
    _report_split(pairs, parts.training.held_out, progress)
    # Before the features are computed: raises UserError if a file name is not UTF-8.
    manifest.content_of(folder / HELD_OUT, pairs.held_out)
    prepare = partial(prepared_data, recipe, folder=cache, device=parts.device, progress=progress)
    if (data := prepare(pairs.training)) is None:
        return None
    if (held_out := prepare(spread(pairs.held_out, MAX_MEASURED))) is None:
        return None
    return pairs, data, held_out


def _report_split(pairs: SplitPairs, fraction: float, progress: ProgressReporter) -> None:
    """Report the numbers of pairs and images, and why no pair is held out although ``fraction`` is not 0."""
    training, held_out = (
        {path for pair in subset for path in (pair.structure, pair.appearance)}
        for subset in (pairs.training, pairs.held_out)
    )
    progress.note(
        f"{with_count(len(pairs.training), 'pair')} of {with_count(len(training), 'image')}; "
        f"{with_count(len(pairs.held_out), 'held-out pair')} of {with_count(len(held_out), 'other image')}"
    )
    if pairs.crossing:
        left_out = with_count(pairs.crossing, "pair")
        progress.note(f"{left_out} left out, because one image of the pair is held out and the other is not")
    if pairs.crossing and not pairs.held_out:
        progress.note(
            "no pair has both images held out, so there are no previews or metrics; to get them, give a folder of "
            "images instead of pairs"
        )
    elif fraction and not pairs.held_out:
        progress.note(
            "no two images of one domain are held out, so there are no previews or metrics; to get them, give more "
            "images, or a larger fraction training.held_out"
        )
