"""Application of a trained model to many images in one process, with a record of the outputs in their folder.

An image takes about a second and loading the model longer, so the model is loaded once, and descriptions of appearance
images are cached. For metrics, reports and several machines, use the model folder as the preset of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from vitsplice.batch.transfer_plan import Transfer, TransferPlan, image_digests
from vitsplice.batch.transfer_record import TransferRecord
from vitsplice.engine.images import RunImages, check_mask, masked
from vitsplice.engine.memory import out_of_memory_advice
from vitsplice.errors import ImageError, VitspliceError
from vitsplice.images import LoadedImage, encode_png, read, read_mask
from vitsplice.models.mixing import Appearance, Mix
from vitsplice.models.model import Model
from vitsplice.numerics import numerics
from vitsplice.support import output_folder
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter

CACHED_DESCRIPTIONS = 16
"""Maximum number of appearance images whose descriptions are cached."""


@dataclass
class Applied:
    """The outcome of applying a model or a LUT to many images.

    Args:
        written: number of outputs that were written.
        skipped: number of outputs that the folder held already.
        failures: error of each output that could not be computed or written, by its name.
        trained_on: path of each structure or appearance image of these outputs that the model was trained on, by its
            SHA-256.
        stopped: whether the progress reporter stopped the work.
    """

    written: int = 0
    skipped: int = 0
    failures: dict[str, VitspliceError] = field(default_factory=dict)
    trained_on: dict[str, Path] = field(default_factory=dict)
    stopped: bool = False


def apply_model(
    model: Model, plan: TransferPlan, *, force: bool = False, progress: ProgressReporter = NULL_REPORTER
) -> Applied:
    """Write the outputs of a plan, except those that the folder already holds from this model and the same images.

    Args:
        model: the model.
        plan: outputs to write, and their folder, which is created if needed.
        force: replace files that have the name of an output. Those recorded as unchanged outputs of this model from the
            same images are kept.
        progress: progress reporter.

    Returns:
        The outcome, with the error of each output that could not be computed or written.

    Raises:
        OutputExists: if there is a file that only ``force`` would replace; nothing is written.
        OutputBusy: if the plan is recorded, and another process is writing to the folder.
        UserError: if the plan is recorded, and the folder cannot be created.
        VitspliceError: if the record cannot be written.
    """
    with TransferRecord(plan.folder, model, recorded=plan.recorded) as record:
        finished = {each.name: digests for each in plan.existing() if (digests := _finished_digests(each, record))}
        plan.check(force=force, finished=finished)
        applied, prepare = Applied(skipped=len(finished)), _cached_preparation(model)
        for number, transfer in enumerate(plan.transfers):
            if progress.stopped():
                applied.stopped = True
                break
            progress.part(transfer.name, number, len(plan.transfers))
            digests = finished.get(transfer.name) or _apply(model, transfer, prepare, record, applied)
            if digests:
                applied.trained_on |= _trained_on(model, transfer, digests)
    return applied


@numerics(grad=False)
def output_of(
    model: Model, structure: LoadedImage, appearance: Appearance | Mix, mask: LoadedImage | None = None
) -> Tensor:
    """Return a model's output ``(1, 3, H, W)`` for a structure image, which remains unchanged outside the mask.

    Raises:
        UserError: if the mask differs in size from the structure image, or is black everywhere.
    """
    output = model(structure, appearance)
    if mask is None:
        return output
    check_mask(mask, structure, "structure mask", "structure image")
    masks = masked(RunImages({}, {"structure": mask.pixels.mean(1, keepdim=True)}), model.record.settings.mask).masks
    pixels = structure.pixels.to(output.device)
    return torch.lerp(pixels, output, masks["structure"].to(output.device)) if masks else output


def _finished_digests(transfer: Transfer, record: TransferRecord) -> Mapping[str, Any] | None:
    """Return the digests of the images of a finished output; None if it is not finished, or an image is unreadable."""
    with suppress(ImageError):
        digests = transfer.digests()
        if record.holds(transfer.name, digests):
            return digests
    return None


@dataclass(frozen=True)
class _Prepared:
    """A prepared appearance image, with the digests of the files that were read for it."""

    appearance: Appearance
    sha256: str
    mask_sha256: str | None


_Preparation = Callable[[Path, Path | None], _Prepared]
"""Function of the paths of an appearance image and of its mask."""


def _cached_preparation(model: Model) -> _Preparation:
    """Return a function that reads and prepares an appearance image; it caches its results by the two paths.

    The digests are those of the bytes that were read, even if a file is replaced later.
    """

    @lru_cache(CACHED_DESCRIPTIONS)
    def prepare(path: Path, mask_path: Path | None) -> _Prepared:
        image, mask = read(path), _read_mask(mask_path)
        return _Prepared(model.prepare(image, mask=mask), image.sha256, mask.sha256 if mask else None)

    return prepare


def _read_mask(path: Path | None) -> LoadedImage | None:
    return None if path is None else read_mask(path)


def _apply(
    model: Model, transfer: Transfer, prepare: _Preparation, record: TransferRecord, applied: Applied
) -> Mapping[str, Any] | None:
    """Write one output and return the digests of its images; if that fails, record the error and return None."""
    began = perf_counter()
    try:
        record.check_name(transfer.name)
        with out_of_memory_advice():
            data, digests = _compute(model, transfer, prepare)
    except VitspliceError as error:
        applied.failures[transfer.name] = error
        return None
    record.add(transfer.name, digests, perf_counter() - began, sha256(data).hexdigest())
    try:
        output_folder.write_file(record.folder / transfer.name, data)
    except VitspliceError as error:
        applied.failures[transfer.name] = error
        return None
    applied.written += 1
    return digests


def _compute(model: Model, transfer: Transfer, prepare: _Preparation) -> tuple[bytes, dict[str, Any]]:
    """Compute the PNG file of an output, and the digests of the images that it was computed from."""
    structure, mask = read(transfer.structure), _read_mask(transfer.structure_mask)
    masked_parts = zip_longest(transfer.appearance, transfer.appearance_masks)
    parts = [(prepare(path, mask_path), weight) for (path, weight), mask_path in masked_parts]
    mix = [(part.appearance, weight) for part, weight in parts]
    output = output_of(model, structure, mix[0][0] if len(mix) == 1 else Mix(mix), mask)
    return encode_png(output), image_digests(
        structure.sha256,
        [(part.sha256, weight) for part, weight in parts],
        mask.sha256 if mask else None,
        [part.mask_sha256 for part, _ in parts],
    )


def _trained_on(model: Model, transfer: Transfer, digests: Mapping[str, Any]) -> dict[str, Path]:
    """Return the images of a transfer that the model was trained on, by their SHA-256 (see `image_digests`)."""
    sha256s = [digests["structure"], *(digest for digest, _ in digests["appearance"])]
    paths = [transfer.structure, *(path for path, _ in transfer.appearance)]
    return {digest: path for digest, path in zip(sha256s, paths, strict=True) if digest in model.images}
