"""Pairing images by the cosine similarity of a backbone's appearance feature (of a ViT: the [CLS] token).

SpliceNet is trained on pairs that are selected in this way (Tumanyan et al. 2023, supplement). In a random pair, what
the appearance image shows may have no counterpart in the structure image.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import Backbone
from vitsplice.datasets.image_cache import cached_by_image
from vitsplice.datasets.pairing import Pairing
from vitsplice.datasets.sources import ImageGroup
from vitsplice.engine.backbones import backbone_or_default
from vitsplice.engine.device import pick_device
from vitsplice.errors import ImageError, VitspliceError
from vitsplice.images import read
from vitsplice.numerics import numerics
from vitsplice.support.progress import ProgressReporter
from vitsplice.text import printable

SHORTER_SIDE, LONGER_SIDE = 224, 480
"""Shorter side of the backbone's input in pixels, as in the released code of Splice, and maximum of the longer side."""

MAX_NOTED_ERRORS = 5
"""Maximum number of unreadable images that are named; the others are counted."""

QUERIES_AT_ONCE = 256
"""Number of structure images whose similarities to all candidates are in memory at a time."""


@dataclass(frozen=True)
class AppearanceFeature:
    """The appearance feature of an image.

    Args:
        sha256: digest of the image file.
        values: ``(D,)``.
    """

    sha256: str
    values: NDArray[np.float32]


def pair_by_similarity(
    groups: Sequence[ImageGroup],
    per_structure: int,
    name: str | None,
    device: str,
    cache: Path,
    progress: ProgressReporter,
) -> list[tuple[ImageGroup, Pairing]] | None:
    """Pair each structure image with the most similar appearance images of its group.

    Args:
        groups: images to be paired.
        per_structure: maximum number of appearance images for each structure image.
        name: name of the backbone; None: the backbone of the default preset, or its fallback.
        device: see `vitsplice.engine.device.pick_device`.
        cache: file of computed features in an existing folder, which is read and extended.
        progress: reports each image, the backbone, and unreadable images, which are skipped.

    Returns:
        The pairings with their groups, or None if the progress reporter stopped the work.

    Raises:
        UnknownName, WeightsUnavailable: if the backbone is unknown or unavailable.
        VitspliceError: if the cache cannot be used, or a feature is not finite.
    """
    target = pick_device(device)
    backbone, substitution = backbone_or_default(name, target)
    progress.note(
        str(substitution) if substitution else f"similarity by the appearance feature of {backbone.info.name}"
    )
    images = list(dict.fromkeys(path for group in groups for path in (*group.structures, *group.appearances)))
    result = appearance_features(images, backbone, target, cache, progress)
    if result is None:
        return None
    features, errors = result
    note_skipped(errors, progress)
    return [(group, pairing) for group in groups for pairing in most_similar(group, features, per_structure)]


def note_skipped(errors: Sequence[object], progress: ProgressReporter) -> None:
    """Report unreadable images that are skipped: the first errors, and the number of the others."""
    for error in errors[:MAX_NOTED_ERRORS]:
        progress.note(f"skipped: {error}")
    if len(errors) > MAX_NOTED_ERRORS:
        progress.note(f"skipped: {len(errors) - MAX_NOTED_ERRORS} more images that cannot be read")


def appearance_features(
    images: Sequence[Path],
    backbone: Backbone,
    device: torch.device,
    cache: Path,
    progress: ProgressReporter,
    *,
    precision: str = "float32",
) -> tuple[dict[Path, AppearanceFeature], list[ImageError]] | None:
    """Read the features of images from the cache, or compute them, one image at a time.

    Args:
        images: paths of the images.
        backbone: backbone on the device, whose appearance feature is computed.
        device: device of the backbone.
        cache: file of computed features, which is read and extended.
        progress: reports each image.
        precision: precision of the backbone; cached features of another precision are not used.

    Returns:
        The features by path and the errors of unreadable images, or None if the progress reporter stopped the work.

    Raises:
        VitspliceError: if the cache cannot be used, or a feature is not finite.
    """
    info = backbone.info
    key: tuple[object, ...] = info.name, info.sha256, info.appearance, info.cls_normalised, SHORTER_SIDE, LONGER_SIDE
    if precision != "float32":  # keys in existing caches have no precision
        key = (*key, precision)
    return cached_by_image(
        images, key, lambda path: _compute(path, backbone, device), _encoded, _decoded, cache, progress
    )


def _encoded(feature: AppearanceFeature) -> dict[str, Any]:
    encoded = b64encode(feature.values.tobytes()).decode()
    return {"sha256": feature.sha256, "length": len(feature.values), "feature": encoded}


@numerics(grad=False)
def _compute(path: Path, backbone: Backbone, device: torch.device) -> AppearanceFeature:
    image = read(path)
    request = backbone.info.appearance
    pixels = Resize(SHORTER_SIDE, LONGER_SIDE)(image.pixels.to(device), backbone.info)
    values = backbone(pixels, (request,))[request].values.flatten()
    if not bool(values.isfinite().all()):
        raise VitspliceError(
            f"backbone '{backbone.info.name}' returns NaN or infinite values for {request} of '{printable(str(path))}'"
        )
    return AppearanceFeature(image.sha256, values.float().cpu().numpy())


def _decoded(record: Mapping[str, object]) -> AppearanceFeature | None:
    """Read a feature of the cache; None if the record is invalid."""
    try:
        values = np.frombuffer(b64decode(str(record["feature"]), validate=True), np.float32)
        complete = len(values) == record["length"] and bool(np.isfinite(values).all())
        return AppearanceFeature(str(record["sha256"]), values) if complete else None
    except (ValueError, KeyError):
        return None


def most_similar(
    group: ImageGroup, features: Mapping[Path, AppearanceFeature], per_structure: int
) -> Iterator[Pairing]:
    """Pair each structure image with at most ``per_structure`` appearance images, the most similar first.

    Images without a feature are skipped.
    """
    structures = [path for path in group.structures if path in features]
    appearances = [path for path in group.appearances if path in features]
    rows = nearest([features[path] for path in structures], [features[path] for path in appearances], per_structure)
    for structure, indices in zip(structures, rows, strict=True):
        yield structure, [appearances[index] for index in indices]


def nearest(
    queries: Sequence[AppearanceFeature], candidates: Sequence[AppearanceFeature], number: int
) -> Iterator[list[int]]:
    """Yield the indices of the ``number`` candidates of highest cosine similarity to each query, in that order.

    Ties keep the order of the candidates. Candidates whose files have the same bytes as the query's are excluded.
    """
    if not queries or not candidates:
        yield from ([] for _ in queries)
        return
    _, files = np.unique([feature.sha256 for feature in (*queries, *candidates)], return_inverse=True)
    query_files, candidate_files = files[: len(queries)], files[len(queries) :]
    query_directions, candidate_directions = _normalised(queries), _normalised(candidates)
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        rows = slice(start, start + QUERIES_AT_ONCE)
        similarity = query_directions[rows] @ candidate_directions.T
        similarity[query_files[rows, None] == candidate_files] = -np.inf
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :number]
        for row, indices in zip(similarity, order, strict=True):
            yield [int(index) for index in indices if row[index] > -np.inf]


def _normalised(features: Sequence[AppearanceFeature]) -> NDArray[np.float32]:
    """Stack features, each divided by its length: ``(N, D)``."""
    values = np.stack([feature.values for feature in features])
    directions: NDArray[np.float32] = values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)
    return directions
