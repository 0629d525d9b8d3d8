"""Appearance modes of a collection: k-means of the normalised appearance feature (for a ViT: [CLS]) of its images.

Tumanyan et al. 2023 ("Disentangling Structure and Appearance in ViT Feature Space") show the modes of Animal Faces HQ
with k = 9, and a structure image in the appearance of each. Here a mode is represented by the image nearest to its
centre.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import Backbone, BackboneInfo
from vitsplice.datasets.similarity import AppearanceFeature, appearance_features
from vitsplice.engine.backbones import backbone_or_default
from vitsplice.engine.device import pick_device
from vitsplice.errors import Argument, UserError
from vitsplice.images import contact_sheet, encode_png, read
from vitsplice.images.transforms import shrink_to
from vitsplice.matching.clustering import kmeans
from vitsplice.models.model import Model
from vitsplice.support import output_folder
from vitsplice.support.files import first_of_each_file, json_bytes
from vitsplice.support.input_files import check_inputs_survive, check_is_no_source
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.text import printable, with_count

SHEET, DATA, FEATURES = "modes.png", "modes.json", "features.jsonl"
"""File names of the sheet, the modes as JSON, and the cached features."""

OUTPUT = re.compile(r"mode-[0-9]+\.png")
"""File names of outputs; `save` removes such files of an earlier call that it does not write again."""

COLUMNS, HEIGHT = 10, 160
"""Maximum number of images of a mode on the sheet, and their height in pixels."""


@dataclass(frozen=True)
class Mode:
    """A mode: images with similar appearance.

    Args:
        images: paths, sorted by distance from the centre of the mode, the nearest first.
        distances: distance of each image's normalised feature from the centre.
    """

    images: tuple[Path, ...]
    distances: tuple[float, ...]


@dataclass(frozen=True)
class AppearanceModes:
    """The appearance modes of a collection.

    Args:
        modes: modes, the largest first.
        info: information on the backbone.
        sha256: SHA-256 of each image file of the modes.
        skipped: for each image that could not be read, the reason.
    """

    modes: tuple[Mode, ...]
    info: BackboneInfo
    sha256: dict[Path, str] = field(repr=False)
    skipped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the modes as plain data."""
        modes = [
            {
                "images": [
                    {"path": str(path), "sha256": self.sha256[path], "distance": round(distance, 5)}
                    for path, distance in zip(mode.images, mode.distances, strict=True)
                ]
            }
            for mode in self.modes
        ]
        return {
            "backbone": self.info.name,
            "weights_sha256": self.info.sha256,
            "feature": self.info.label(self.info.appearance),
            "modes": modes,
            "skipped": list(self.skipped),
        }


def appearance_modes(
    images: Sequence[Path],
    k: int,
    cache: Path,
    *,
    backbone: Backbone | str | None = None,
    device: str = "auto",
    progress: ProgressReporter = NULL_REPORTER,
) -> AppearanceModes | None:
    """Cluster images by the normalised appearance feature of a backbone, for a ViT the [CLS] token.

    Args:
        images: paths; a file that is given twice, also by a link, counts once, and unreadable images are skipped.
        k: number of modes, at least 1.
        cache: file of computed features, which is read and extended.
        backbone: a loaded backbone, or its name; None: that of the default preset, or its fallback.
        device: see `vitsplice.engine.device.pick_device`.
        progress: progress reporter.

    Returns:
        The modes, fewer than ``k`` if clusters are empty, such as for images of equal features; None if the progress
        reporter stopped the work.

    Raises:
        UserError: if ``k`` is below 1, or there are fewer readable images than modes.
        UnknownName, WeightsUnavailable: if the backbone is unknown or unavailable.
        VitspliceError: if the cache cannot be written, or a feature is not finite.
    """
    if k < 1:
        raise UserError(Argument("k", k), " is not allowed; it must be at least 1")
    images = first_of_each_file(images)
    if len(images) < k:
        raise UserError(
            f"{k} modes need at least {k} images, not {len(images)}; give more images or a lower ", Argument("k")
        )
    target = pick_device(device)
    network, substitution = backbone_or_default(backbone, target)
    if substitution:
        progress.note(str(substitution))
    output_folder.create(cache.parent)
    if (result := appearance_features(images, network, target, cache, progress)) is None:
        return None
    features, skipped = result
    if len(features) < k:
        raise UserError(
            f"{k} modes need at least {k} images; {len(features)} of the {len(images)} images can be read; give more "
            "images or a lower ",
            Argument("k"),
        )
    digests = {path: feature.sha256 for path, feature in features.items()}
    return AppearanceModes(tuple(_modes(features, k)), network.info, digests, tuple(map(str, skipped)))


def _modes(features: dict[Path, AppearanceFeature], k: int) -> list[Mode]:
    """Cluster features into modes, the largest first; ties are in the order of their first images in ``features``."""
    paths = list(features)
    points = F.normalize(torch.from_numpy(np.stack([features[path].values for path in paths])).double(), dim=-1)
    labels = kmeans(points, k)
    clusters = [torch.nonzero(labels == label).flatten() for label in torch.unique(labels)]
    modes = []
    for members in sorted(clusters, key=lambda members: (-len(members), int(members[0]))):
        distances = (points[members] - points[members].mean(0)).norm(dim=-1)
        order = torch.argsort(distances, stable=True)
        modes.append(Mode(tuple(paths[int(members[n])] for n in order), tuple(distances[order].tolist())))
    return modes


def outputs_of(model: Model, structure: str | os.PathLike[str], modes: AppearanceModes) -> list[Tensor]:
    """Give a structure image the appearance of the image nearest to each centre, by a model; ``(3, H, W)`` each."""
    prepared = model.prepare_structure(Path(structure))
    return [model(prepared, mode.images[0])[0].cpu() for mode in modes.modes]


def sheet(modes: AppearanceModes, outputs: Sequence[Tensor] = ()) -> Tensor:
    """Draw a row for each mode: its output if there are outputs, then its images, at most `COLUMNS`, the nearest first.

    Returns:
        ``(3, H, W)`` in [0, 1].
    """
    return contact_sheet([list(_row(number, modes, outputs)) for number in range(len(modes.modes))], HEIGHT)


def _row(number: int, modes: AppearanceModes, outputs: Sequence[Tensor]) -> Iterator[tuple[str, Tensor]]:
    mode = modes.modes[number]
    if outputs:
        yield f"output, mode {number + 1}", outputs[number]
    for column, path in enumerate(mode.images[:COLUMNS]):
        small = shrink_to(read(path).pixels, HEIGHT)[0]
        title = f"mode {number + 1}: {with_count(len(mode.images), 'image')}"
        yield (printable(path.stem) if column else title), small


def check_output(
    folder: str | os.PathLike[str], sources: Sequence[Path] = (), number_of_outputs: int = 0, *, force: bool
) -> Path:
    """Return the folder, untouched, if modes may be written to it.

    Args:
        folder: output folder.
        sources: folders of images, and images. A folder of images is refused as the output folder.
        number_of_outputs: maximum number of outputs of a model, one for each mode.
        force: allow modes in the folder, and files with the names of their outputs, to be replaced.

    Raises:
        OutputExists: if the folder holds modes, or a file that would be replaced, and ``force`` is not given.
        UserError: if the path has a NUL, is a file or is one of the sources, or a source would be replaced or removed.
    """
    path = Path(folder)
    output_folder.refuse_nul(path)
    check_is_no_source(folder, sources, SHEET)
    listed, written = output_folder.listed_files(path, DATA, OUTPUT), [*map(_output_name, range(number_of_outputs))]
    check_inputs_survive(sources, (path / name for name in (SHEET, DATA, *listed, *written)))
    output_folder.check(folder, (SHEET, DATA), "appearance modes", force=force)
    return output_folder.check_names(folder, written, force=force)


def _output_name(mode: int) -> str:
    """Return the file name of the output of a mode; modes count from 0, file names from 1."""
    return f"mode-{mode + 1}.png"


def save(
    modes: AppearanceModes, folder: str | os.PathLike[str], outputs: Sequence[Tensor] = (), *, force: bool = False
) -> Path:
    """Write the modes as JSON, the outputs ``mode-1.png``... and the sheet; return the path of the sheet.

    The JSON, which lists the outputs, is written first, so that a later call can remove the outputs of a call that was
    killed.

    Raises:
        OutputExists: if the folder holds modes, or a file that would be replaced, and ``force`` is not given.
        ImageError: if an image of a mode can no longer be read.
        UserError: if the folder cannot be created, or an image of a mode is a file that would be replaced or removed.
        VitspliceError: if a file cannot be written.
    """
    images = [image for mode in modes.modes for image in mode.images]
    path = check_output(folder, images, len(outputs), force=force)
    files = {_output_name(mode): encode_png(output) for mode, output in enumerate(outputs)}
    data = json_bytes(modes.to_json() | {"files": list(files)})
    drawn = encode_png(sheet(modes, outputs))
    output_folder.remove_listed(path, DATA, OUTPUT, keep=files)
    output_folder.write(path, {DATA: data, **files, SHEET: drawn})
    return path / SHEET
