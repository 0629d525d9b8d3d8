"""Pairs of a data set in the layout of PF-PASCAL (Ham et al. 2018, "Proposal Flow", TPAMI).

The lists of pairs are those that came with weakly-supervised alignment and NCNet (Rocco et al. 2018), and that later
work uses: CSV with the columns ``source_image``, ``target_image``, ``class`` (1 to 20, the categories of PASCAL VOC in
their order), and ``XA``, ``YA``, ``XB``, ``YB``, the keypoints of source and target in pixels, separated by semicolons.
Lists for training have a column ``flip`` instead; keypoints then come from ``Annotations/CATEGORY/NAME.mat``, whose
``kps`` is ``(N, 2)``, across and down, NaN where a point is not seen, and rows to be flipped are left out. A threshold
is a part of the longer side of the target.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from vitsplice.errors import UserError
from vitsplice.keypoints.mat import keypoints
from vitsplice.keypoints.pairs import DataSet, Flaw, Pair, Points, View
from vitsplice.text import one_line, printable

IMAGES, ANNOTATIONS = "JPEGImages", "Annotations"
LISTS = ("{}_pairs_pf_pascal.csv", "{}_pairs.csv", "image_pairs/{}_pairs.csv")
"""Where the list of a split is looked for."""

LAYOUT_IN_WORDS = f"SPLIT_pairs_pf_pascal.csv or SPLIT_pairs.csv, here or in image_pairs, {IMAGES}/*.jpg"
NEEDED = ("source_image", "target_image", "class")
KEYPOINTS = ("XA", "YA", "XB", "YB")
CATEGORIES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

Row = Mapping[str, str]


def is_one(root: Path) -> bool:
    """Whether a folder has the layout."""
    return any(True for name in LISTS for _ in root.glob(name.format("*")))


def read(root: Path, split: str) -> DataSet:
    """The pairs of a split.

    Args:
        root: the folder that holds the lists; images are looked for where the list says, from here, and in
            ``JPEGImages``.
        split: ``train``, ``val`` or ``test``.

    Raises:
        UserError: if there is no such list, or it has no pairs or lacks a column.
    """
    found = [path for name in LISTS if os.path.isfile(path := root / name.format(split))]
    if not found:
        there = sorted({path.name.partition("_pairs")[0] for name in LISTS for path in root.glob(name.format("*"))})
        looked = ", ".join(name.format(split) for name in LISTS)
        raise UserError(
            f"{printable(str(root))} has no list of split {split}: looked for {looked}; "
            f"the splits that are there: {', '.join(there)}"
        )
    path = found[0]
    count = sum(1 for _ in _rows(path))
    if not count:
        raise UserError(f"{printable(str(path))} has no pairs")
    facts = {"layout": "PF-PASCAL", "root": str(root.absolute()), "list": path.name, "split": split}

    def pairs() -> Iterator[Pair | Flaw]:
        return (_pair(root, number, row) for number, row in _rows(path))

    return DataSet(f"{root.name}, PF-PASCAL's layout, {split}", facts, count, pairs)


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a list with their lines. Raises UserError if it cannot be read or lacks a column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            names = reader.fieldnames or ()
            wanted = NEEDED + (() if "flip" in names else KEYPOINTS)
            if missing := [name for name in wanted if name not in names]:
                raise UserError(
                    f"{printable(str(path))} has no column {', '.join(missing)}; "
                    f"a list of pairs has {', '.join(NEEDED + KEYPOINTS)}, or flip in place of the last four"
                )
            for row in reader:
                if row.get("flip", "0").strip() in ("", "0"):
                    yield reader.line_num, row
    except OSError as error:
        raise UserError(f"cannot read {printable(str(path))}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{printable(str(path))} is no CSV file: {error}") from error


def _pair(root: Path, number: int, row: Row) -> Pair | Flaw:
    names = [PurePosixPath(row[column]) for column in NEEDED[:2]]
    id_ = f"{number}-{'-'.join(name.stem for name in names)}"
    try:
        category = CATEGORIES[_class(row["class"])]
        here, there = _keypoints(root, category, names, row)
    except FileNotFoundError as error:
        return Flaw(id_, one_line(str(error)), missing=True)
    except (ValueError, ArithmeticError) as error:
        return Flaw(id_, one_line(str(error)))
    source, target = (View(_image(root, name)) for name in names)
    return Pair(id_, category, source, target, here, there)


def _image(root: Path, name: PurePosixPath) -> Path:
    told = root / name
    return told if os.path.isfile(told) else root / IMAGES / name.name


def _class(text: str) -> int:
    number = float(text)
    if number != int(number) or not 1 <= number <= len(CATEGORIES):
        raise ValueError(f"class {text} is not one of 1 .. {len(CATEGORIES)}")
    return int(number) - 1


def _keypoints(root: Path, category: str, names: list[PurePosixPath], row: Row) -> tuple[Points, Points]:
    if all(name in row for name in KEYPOINTS):
        across, down, other_across, other_down = (_numbers(row[name]) for name in KEYPOINTS)
        here, there = _stacked(down, across), _stacked(other_down, other_across)
    else:
        here, there = (keypoints(root / ANNOTATIONS / category / f"{name.stem}.mat")[:, ::-1] for name in names)
    if len(here) != len(there):
        raise ValueError(f"{len(here)} keypoints in the source and {len(there)} in the target")
    seen = np.isfinite(here).all(1) & np.isfinite(there).all(1)
    return here[seen], there[seen]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(";") if number.strip()]


def _stacked(down: list[float], across: list[float]) -> Points:
    if len(down) != len(across):
        raise ValueError(f"{len(across)} keypoints across and {len(down)} down")
    return np.array([down, across], np.float64).T
