"""Regions proposed by co-segmentation: each part is matched with the same part of the appearance images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vitsplice.analysis.cosegmentation import Cosegmentation, cosegment, part_colours, part_file_names, save
from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone
from vitsplice.engine.backbones import BackboneLoader, load_settings
from vitsplice.engine.problem import Components
from vitsplice.engine.start import check_regions
from vitsplice.errors import UserError
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import pinned
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.inputs import Region, appearances_of, as_arguments, as_sequence, region_masks
from vitsplice.runs.run_inputs import RunInputs
from vitsplice.support import output_folder
from vitsplice.support.files import inside
from vitsplice.support.folder_lock import FolderLock
from vitsplice.text import printable

FOLDER = "regions"
"""Folder of proposed regions in the folder of a run."""


def propose_regions(
    structure: Any,
    appearance: Any,
    parts: int = 4,
    *,
    backbone: str | Backbone | None = None,
    size: int = 448,
    device: str = "auto",
) -> list[Region]:
    """Propose regions for `vitsplice.splice`: parts that the images have in common, and their background.

    Each part of the structure image is matched with the same part of the appearance images, and the background with
    their background (`vitsplice.analysis.cosegmentation`, after Amir et al. 2021).

    Args:
        structure, appearance: as for `vitsplice.splice`.
        parts: number of parts of the foreground, 1 to 20.
        backbone: name, or a loaded backbone; None: that of the default preset, or its fallback.
        size: requested shorter side of the backbone's input, in pixels; the backbone may need another.
        device: see `vitsplice.engine.device.pick_device`.

    Returns:
        A region for each appearance image that has a part in common with the structure image. The other appearance
        images have no region, but terms that compare entire images still use them. Masks are label images
        ``(3, H, W)``, uint8: black is the background, each part has one colour in all images.

    Raises:
        ImageError: if an image cannot be read.
        UserError: if the images have no common foreground, or the number of parts or the size is out of range.
        UnknownName, WeightsUnavailable: if the backbone is unknown or unavailable.
    """
    images = [structure, *as_sequence(appearance)]
    result = cosegment(images, backbone=backbone, parts=parts, size=size, device=device)
    colours = torch.tensor([(0, 0, 0), *part_colours(parts)], dtype=torch.uint8)
    return _regions(result, [colours[result.part_labels(number)].permute(2, 0, 1) for number in range(len(images))])


def propose_for_run(
    images: Mapping[str, str | os.PathLike[str]],
    parts: int,
    settings: RunConfig,
    out: str | os.PathLike[str],
    *,
    weights: Sequence[float] | None = None,
    regions: Sequence[Region] = (),
    force: bool = False,
    backbones: BackboneLoader | None = None,
) -> tuple[list[Region], list[str]]:
    """Propose regions with the first backbone of a run, and write them into the folder of the run.

    All inputs of the run are checked before anything is written.

    Args:
        images: path of each image and mask of the run by name (`vitsplice.runs.inputs`).
        parts: number of parts of the foreground.
        settings: settings of the run.
        out: folder of the run.
        weights: weight of each appearance image; None: all are equal.
        regions: further regions of the run, whose masks are paths.
        force: accept a folder that holds a run. The files of that run stay until the new run replaces them.
        backbones: see `vitsplice.Run`.

    Returns:
        The proposed regions, whose masks are paths of label images, and messages for the user.

    Raises:
        ConfigError: if the settings do not use regions.
        UserError: if an image or a mask of the run would be replaced or is in ``regions`` in the folder of the run, or
            ``regions`` is a link out of that folder.
        VitspliceError: if a backbone cannot be loaded; see also `RunInputs.read`, `propose_regions` and
            `write_regions`.
    """
    _check_inputs([*images.values(), *region_masks(regions).values()], RunFolder.check(out, force=force))
    RunInputs.read(**as_arguments(images), appearance_weights=weights, regions=regions)
    known, loader = catalogue(), backbones or BackboneLoader()
    loaded = load_settings(pinned(settings), loader, known)
    check_regions(loaded.settings, Components.build(loaded.settings, loaded.backbones, known).guided)
    backbone, _ = loader.load(loaded.settings.backbone, known, loaded.device, "float32")
    paths = [images[name] for name in ("structure", *appearances_of(images))]
    result = cosegment(paths, backbone=backbone, parts=parts, device=str(loaded.device))
    proposed, sheet = write_regions(result, out, force=force)
    used = _numbers_of_matched(result)
    unused = [
        f"no region uses {image.name}: it has no part in common with the structure image; terms that compare entire "
        "images still use it"
        for number, image in enumerate(result.images[1:])
        if number not in used
    ]
    return proposed, [*result.notes, *unused, f"regions: {sheet}"]


def _check_inputs(paths: Sequence[str | os.PathLike[str]], folder: RunFolder) -> None:
    """Raise UserError if the run would replace an input, or an input is in the folder of the proposed regions."""
    folder.check_inputs(paths)
    proposed = os.path.realpath(inside(folder.path, FOLDER))
    for path in paths:
        if os.path.dirname(os.path.realpath(path)) == proposed:
            raise UserError(
                f"{printable(os.fspath(path))} is in {folder.path / FOLDER}, to which proposed regions are written; "
                "move it, or choose another output folder"
            )


def write_regions(
    result: Cosegmentation, folder: str | os.PathLike[str], *, force: bool = False
) -> tuple[list[Region], Path]:
    """Write a co-segmentation into the folder of a run that has not begun yet.

    Args:
        result: co-segmentation of the structure image and the appearance images, in this order.
        folder: folder of the run; earlier regions in it are replaced.
        force: accept a folder that holds a run. The files of that run stay until the new run replaces them.

    Returns:
        The regions, whose masks are paths of label images, and the path of the contact sheet.

    Raises:
        OutputExists: if the folder holds a run and ``force`` is not set.
        OutputBusy: if another process is writing to the folder.
        UserError: if an image is a file that would be replaced, or ``regions`` in the folder is a link out of it.
        VitspliceError: if a file cannot be written.
    """
    path = RunFolder.check(folder, force=force).path
    output_folder.create(path)
    with FolderLock(path):
        sheet = save(result, inside(path, FOLDER), force=True)
    names = [part_file_names(image.name, index)["parts"] for index, image in enumerate(result.images)]
    return _regions(result, [str(path / FOLDER / name) for name in names]), sheet


def _regions(result: Cosegmentation, masks: Sequence[Any]) -> list[Region]:
    """Return a region for each appearance image that has a part in common with the structure image."""
    return [Region(masks[0], number, masks[number + 1]) for number in _numbers_of_matched(result)]


def _numbers_of_matched(result: Cosegmentation) -> list[int]:
    """Return the numbers, from 0, of the appearance images that have a part in common with the structure image."""
    structure, *appearances = (set(torch.unique(labels).tolist()) for labels in result.labels)
    return [number for number, labels in enumerate(appearances) if structure & labels - {0}]
