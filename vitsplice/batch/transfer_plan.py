"""Plan of applying a model or a LUT to many images: the images and the file name of each output."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitsplice.batch.transfer_record import read_record
from vitsplice.datasets import Pair
from vitsplice.datasets import read as read_manifest
from vitsplice.errors import ImageError, OutputExists, UserError
from vitsplice.images.decode import open_file
from vitsplice.models.mixing import check_weights
from vitsplice.runs.inputs import appearance_names
from vitsplice.support.files import absolute
from vitsplice.support.image_files import images_at, is_image_name
from vitsplice.support.input_files import check_inputs_survive, check_is_no_source
from vitsplice.support.output_folder import REPLACE
from vitsplice.text import printable


@dataclass(frozen=True)
class Transfer:
    """One output of a model or a LUT: its file name, and the paths of its images.

    Args:
        name: file name in the output folder.
        structure: structure image.
        appearance: appearance images with their weights; empty for a LUT.
        structure_mask: see `vitsplice.splice`.
        appearance_masks: mask of each appearance image, or None; empty: no appearance image has a mask.
    """

    name: str
    structure: Path
    appearance: tuple[tuple[Path, float], ...]
    structure_mask: Path | None = None
    appearance_masks: tuple[Path | None, ...] = ()

    def inputs(self) -> list[Path]:
        """Return the paths of all images and masks."""
        masks = (self.structure_mask, *self.appearance_masks)
        return [self.structure, *(path for path, _ in self.appearance), *(mask for mask in masks if mask)]

    def digests(self) -> dict[str, Any]:
        """Return the `image_digests` of the files as they are now. Raises ImageError if one cannot be read."""
        return image_digests(
            _digest(self.structure),
            [(_digest(path), weight) for path, weight in self.appearance],
            _digest(self.structure_mask) if self.structure_mask else None,
            [_digest(mask) if mask else None for mask in self.appearance_masks],
        )


@dataclass(frozen=True)
class TransferPlan:
    """The outputs to write into a folder.

    Args:
        folder: output folder.
        transfers: the outputs.
        recorded: whether a record of the outputs is written into the folder.
    """

    folder: Path
    transfers: Sequence[Transfer]
    recorded: bool = True

    def existing(self) -> list[Transfer]:
        """Return the outputs whose names are taken by a file or folder."""
        return [transfer for transfer in self.transfers if os.path.lexists(self.folder / transfer.name)]

    def check(self, *, force: bool, finished: Collection[str] | None = None) -> None:
        """Check that the outputs replace no file that must remain.

        Args:
            force: allow files to be replaced, but never inputs.
            finished: names of finished outputs; None: all in the record of the folder, whichever model made them.

        Raises:
            OutputExists: if the name of an output is taken, unless ``force`` is given or the output is finished.
            UserError: if an output would replace an image or mask of the plan.
        """
        inputs = dict.fromkeys(path for transfer in self.transfers for path in transfer.inputs())
        check_inputs_survive(inputs, (self.folder / transfer.name for transfer in self.transfers))
        finished = read_record(self.folder) if finished is None else finished
        if force or not (taken := [each.name for each in self.existing() if each.name not in finished]):
            return
        path, others = printable(str(self.folder / taken[0])), len(taken) - 1
        exist, them = (f"and {others} more exist", "them") if others else ("exists", "it")
        raise OutputExists(f"{path} {exist} already; choose another output, or replace {them} with ", REPLACE)


def plan_in(out: Path, transfers: Sequence[Transfer], sources: Iterable[Path] = ()) -> TransferPlan:
    """Plan outputs in a folder, or a single one in a .png file.

    Args:
        out: output folder, or .png file.
        transfers: the outputs.
        sources: given structure images, and folders of structure images.

    Raises:
        UserError: if ``out`` is an existing file that is no image, has the suffix of another image format, or is a .png
            file for several outputs; or if the output folder is one of ``sources``.
    """
    if is_image_name(out) and not os.path.isdir(out):
        if out.suffix.lower() != ".png":
            raise UserError(f"outputs are PNG files; give {printable(str(out.with_suffix('.png')))}")
        if len(transfers) != 1:
            raise UserError(f"{len(transfers)} outputs need a folder, not the file {printable(str(out))}")
        plan = TransferPlan(out.parent, [replace(transfers[0], name=out.name)], recorded=False)
    elif os.path.exists(out) and not os.path.isdir(out):
        raise UserError(f"{printable(str(out))} is a file; give the name of a folder, or of a .png file")
    else:
        plan = TransferPlan(out, transfers)
    check_is_no_source(plan.folder, sources, "the outputs")
    return plan


def transfers_of_images(structures: Iterable[Path], appearance: Sequence[tuple[Path, float]]) -> list[Transfer]:
    """List the outputs of structure images with one appearance image, or with one mix of several.

    Args:
        structures: structure images, or folders, of which all images are used.
        appearance: appearance images with their weights.

    Raises:
        UserError: if an image or folder does not exist, two outputs would have the same name, or a weight is invalid.
    """
    check_weights([weight for _, weight in appearance])
    return [replace(transfer, appearance=tuple(appearance)) for transfer in outputs_of_images(structures)]


def outputs_of_images(structures: Iterable[Path]) -> list[Transfer]:
    """List the outputs of structure images, without appearance images.

    Args:
        structures: structure images, or folders, of which all images are used; an image that is given twice is used
            once.

    Raises:
        UserError: if an image or folder does not exist, or two outputs would have the same name.
    """
    unique: dict[Path, Transfer] = {}
    for given in structures:
        for path in images_at(given):
            unique.setdefault(absolute(path), Transfer(f"{path.stem}.png", path, ()))
    by_name: dict[str, Transfer] = {}
    for transfer in unique.values():
        first = by_name.setdefault(transfer.name.lower(), transfer)
        if first is not transfer:
            paths = " and ".join(printable(str(each.structure)) for each in (first, transfer))
            raise UserError(
                f"{paths} would have the same output {first.name}; give them in separate calls, with different output "
                "folders"
            )
    return list(unique.values())


def transfers_of_manifest(manifest: Path) -> list[Transfer]:
    """List an output ``ID.png`` for each pair of a manifest; several appearance images are mixed by their weights.

    Raises:
        ConfigError, UserError: if the manifest is invalid, or a pair has regions.
    """
    return [_transfer(pair) for pair in read_manifest(manifest)]


def _transfer(pair: Pair) -> Transfer:
    if pair.regions:
        raise UserError(
            f"pair {pair.id} has regions, which a model does not take; remove them, or use a batch with a preset "
            "such as quick"
        )
    paths, masks = zip(*pair.appearances, strict=True)
    mix = tuple(zip(paths, pair.weights or [1.0] * len(paths), strict=True))
    return Transfer(f"{pair.id}.png", pair.structure, mix, pair.structure_mask, masks)


def image_digests(
    structure: str,
    appearance: Iterable[tuple[str, float]],
    structure_mask: str | None,
    appearance_masks: Sequence[str | None],
) -> dict[str, Any]:
    """Arrange the SHA-256 of the images and masks of an output, and the weights, as in the record of the outputs.

    Args:
        structure, structure_mask: SHA-256 of the structure image, and of its mask or None.
        appearance: SHA-256 and weight of each appearance image.
        appearance_masks: SHA-256 of the mask of each appearance image, or None; empty: no appearance image has a mask.
    """
    images = [[sha256, weight] for sha256, weight in appearance]
    names = [f"{name}_mask" for name in appearance_names(len(images))]
    masks = {"structure_mask": structure_mask, **dict(zip(names, appearance_masks, strict=False))}
    return {"structure": structure, "appearance": images} | {name: sha256 for name, sha256 in masks.items() if sha256}


def _digest(path: Path) -> str:
    name = printable(str(path))
    try:
        with open_file(str(path), name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"'{name}' cannot be read: {error.strerror or error}") from error
