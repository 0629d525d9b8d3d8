"""Pairs of a data set in the layout of SPair-71k (Min et al. 2019, arXiv 1908.10543).

``PairAnnotation/SPLIT/NAME.json`` describes a pair: ``src_imname``, ``trg_imname``, ``src_imsize`` and ``trg_imsize``
(width, height, channels), ``src_kps`` and ``trg_kps`` ((x, y) in pixels), ``trg_bndbox`` (left, top, right, bottom) and
``category``; other entries are ignored. Images are ``JPEGImages/CATEGORY/*.jpg``. ``Layout/large/SPLIT.txt`` and
``Layout/small/SPLIT.txt`` list pairs, one per line, without ``.json``. The reference length is the larger side of the
target's bounding box, as in the loader that comes with the data set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vitsplice.errors import UserError
from vitsplice.keypoints.dataset import KeypointDataset, KeypointImage, KeypointPair, Points, Size, UnusablePair
from vitsplice.support.files import absolute, folder_name
from vitsplice.text import one_line, printable

ANNOTATIONS, IMAGES, LISTS = "PairAnnotation", "JPEGImages", "Layout"
LEAST_LENGTH = 1e-6
"""Minimum reference length in pixels; distances are divided by it."""

LAYOUT = f"{ANNOTATIONS}/SPLIT/*.json, {IMAGES}/CATEGORY/*.jpg, {LISTS}/large/SPLIT.txt"


def has_layout(root: Path) -> bool:
    """Return True if a folder has this layout, which means that it contains the folder ``PairAnnotation``."""
    return os.path.isdir(root / ANNOTATIONS)


def load(root: Path, split: str, subset: str) -> KeypointDataset:
    """Load the pairs of a split.

    Args:
        root: folder that contains ``PairAnnotation``.
        split: ``trn``, ``val`` or ``test`` in SPair-71k.
        subset: list of pairs, ``large`` (all) or ``small``. Without ``Layout``, ``large`` is every file of the split.

    Raises:
        UserError: if there is no such split, or its list of pairs cannot be read or is empty.
    """
    folder = root / ANNOTATIONS / split
    if not os.path.isdir(folder):
        splits = ", ".join(sorted(path.name for path in (root / ANNOTATIONS).iterdir() if path.is_dir())) or "none"
        raise UserError(f"{printable(str(folder))} is not a folder; available splits: {splits}")
    names = _names(root, split, subset)
    if not names:
        raise UserError(f"{printable(str(root))} has no pairs of split {split}, subset {subset}")
    details = {"layout": "SPair-71k", "root": str(absolute(root)), "split": split, "subset": subset}

    def pairs() -> Iterator[KeypointPair | UnusablePair]:
        return (_read_pair(root, folder, name) for name in names)

    title = f"{folder_name(root)}, layout of SPair-71k, {split}"
    return KeypointDataset(title, details, len(names), pairs, "the larger side of the target's bounding box")


def _names(root: Path, split: str, subset: str) -> list[str]:
    if subset == "large" and not os.path.isdir(root / LISTS):
        return sorted(path.stem for path in (root / ANNOTATIONS / split).glob("[!.]*.json"))
    path = root / LISTS / subset / f"{split}.txt"
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {printable(str(path))}, the list of the pairs of this split") from error
    return list(dict.fromkeys(names))


def _read_pair(root: Path, folder: Path, name: str) -> KeypointPair | UnusablePair:
    id_ = printable(name)
    try:
        return _parse(root, id_, json.loads((folder / f"{name}.json").read_text(encoding="utf-8-sig")))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return UnusablePair(id_, f"cannot read {id_}.json: {error.strerror or error}", missing)
    except KeyError as error:
        return UnusablePair(id_, f"{id_}.json has no entry {error}")
    except (ValueError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        return UnusablePair(id_, one_line(f"{id_}.json is not the annotation of a pair: {error}"))


def _parse(root: Path, id_: str, annotation: Mapping[str, Any]) -> KeypointPair:
    category = annotation["category"]
    source, target = (
        KeypointImage(
            root / IMAGES / category / annotation[f"{side}_imname"], size=_size(annotation.get(f"{side}_imsize"))
        )
        for side in ("src", "trg")
    )
    source_points, target_points = _points(annotation["src_kps"]), _points(annotation["trg_kps"])
    if len(source_points) != len(target_points):
        raise ValueError(f"{len(source_points)} keypoints in the source and {len(target_points)} in the target")
    left, top, right, bottom = (float(edge) for edge in annotation["trg_bndbox"])
    reference = max(right - left, bottom - top)
    if not LEAST_LENGTH <= reference < float("inf"):
        raise ValueError(f"trg_bndbox {annotation['trg_bndbox']} is empty or not finite")
    return KeypointPair(
        id_, printable(category), source, target, source_points, target_points, reference_length=reference
    )


def _points(values: Any) -> Points:
    points = np.array(values or np.empty((0, 2)), np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError("keypoints are not pairs of numbers")
    return points[:, ::-1].copy()


def _size(values: Any) -> Size | None:
    return (int(values[1]), int(values[0])) if values else None
