"""Pairs of a data set in the layout of SPair-71k (Min et al. 2019, "SPair-71k", arXiv 1908.10543).

``PairAnnotation/SPLIT/NAME.json`` has a pair: ``src_imname``, ``trg_imname``, ``src_imsize`` (width, height, channels),
``src_kps`` (across, down; pixels), ``trg_bndbox`` (left, top, right, bottom), ``category``, and more that is not needed
here. Images are ``JPEGImages/CATEGORY/*.jpg``. ``Layout/large/SPLIT.txt`` and ``Layout/small/SPLIT.txt`` name pairs,
one a line, without ``.json``. A threshold is a part of the larger side of the target's bounding box. So the data set's
own example loader has it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vitsplice.errors import UserError
from vitsplice.keypoints.pairs import DataSet, Flaw, Pair, Points, Size, View
from vitsplice.text import one_line, printable

PAIRS, IMAGES, LAYOUT = "PairAnnotation", "JPEGImages", "Layout"
SUBSETS = ("large", "small")
LAYOUT_IN_WORDS = f"{PAIRS}/SPLIT/*.json, {IMAGES}/CATEGORY/*.jpg, {LAYOUT}/large/SPLIT.txt"


def is_one(root: Path) -> bool:
    """Whether a folder has the layout."""
    return (root / PAIRS).is_dir()


def read(root: Path, split: str, subset: str) -> DataSet:
    """The pairs of a split.

    Args:
        root: the folder that holds ``PairAnnotation``.
        split: ``trn``, ``val`` or ``test`` in SPair-71k.
        subset: ``large``, which is all pairs, or ``small``. Without ``Layout``, ``large`` is every file of the split.

    Raises:
        UserError: if there is no such split, or it has no pairs.
    """
    folder = root / PAIRS / split
    if not os.path.isdir(folder):
        there = ", ".join(sorted(path.name for path in (root / PAIRS).iterdir() if path.is_dir())) or "none"
        raise UserError(f"{printable(str(folder))} is no folder; the splits that are there: {there}")
    names = _names(root, split, subset)
    if not names:
        raise UserError(f"{printable(str(root))} has no pairs of split {split}, subset {subset}")
    facts = {"layout": "SPair-71k", "root": str(root.absolute()), "split": split, "subset": subset}

    def pairs() -> Iterator[Pair | Flaw]:
        return (_pair(root, folder, name) for name in names)

    return DataSet(
        f"{root.name}, SPair-71k's layout, {split}", facts, len(names), pairs,
        "the larger side of the target's bounding box",
    )  # fmt: skip


def _names(root: Path, split: str, subset: str) -> list[str]:
    listed = root / LAYOUT / subset / f"{split}.txt"
    if not (root / LAYOUT).is_dir() and subset == SUBSETS[0]:
        return sorted(path.stem for path in (root / PAIRS / split).glob("*.json"))
    try:
        names = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {printable(str(listed))}, which names the pairs of the split") from error
    return list(dict.fromkeys(names))


def _pair(root: Path, folder: Path, name: str) -> Pair | Flaw:
    path, id_ = folder / f"{name}.json", printable(name)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return _parsed(root, id_, told)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return Flaw(id_, f"cannot read {id_}.json: {error.strerror or error}", missing)
    except KeyError as error:
        return Flaw(id_, f"{id_}.json has no {error}")
    except (ValueError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        return Flaw(id_, one_line(f"{id_}.json is no annotation of a pair: {error}"))


def _parsed(root: Path, id_: str, told: Mapping[str, Any]) -> Pair:
    category = told["category"]
    source, target = (
        View(root / IMAGES / category / told[f"{side}_imname"], size=_size(told.get(f"{side}_imsize")))
        for side in ("src", "trg")
    )
    here, there = _points(told["src_kps"]), _points(told["trg_kps"])
    if len(here) != len(there):
        raise ValueError(f"{len(here)} keypoints in the source and {len(there)} in the target")
    left, top, right, bottom = (float(edge) for edge in told["trg_bndbox"])
    reference = max(right - left, bottom - top)
    if not 0 < reference < float("inf"):
        raise ValueError(f"trg_bndbox {told['trg_bndbox']} is empty")
    return Pair(id_, printable(category), source, target, here, there, reference=reference)


def _points(given: Any) -> Points:
    points = np.array(given, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError("keypoints are not pairs of numbers")
    return points[:, ::-1].copy()


def _size(given: Any) -> Size | None:
    return (int(given[1]), int(given[0])) if given else None
