"""Pairs of a data set in the layout of PF-PASCAL (Ham et al. 2018, "Proposal Flow", TPAMI).

The lists of pairs are the CSV files of two papers of Rocco et al. (2018), on weakly supervised alignment and NCNet,
which later work uses too. Their columns are ``source_image``, ``target_image``, ``class`` (1 to 20, the categories of
PASCAL VOC in their order), and ``XA``, ``YA``, ``XB``, ``YB``: the keypoints of source and target in pixels, separated
by semicolons. A keypoint with an empty entry is not visible.

Lists for training have a column ``flip`` instead of the last four; rows whose ``flip`` is not 0 are skipped. The
keypoints of such a list come from ``kps`` in ``Annotations/CATEGORY/NAME.mat``: ``(N, 2)``, (x, y), NaN where a point
is not visible.

The thresholds of PCK are fractions of the longer side of the target.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

from vitsplice.errors import UserError
from vitsplice.keypoints.dataset import KeypointDataset, KeypointImage, KeypointPair, Points, UnusablePair
from vitsplice.support.files import absolute, folder_name, reading
from vitsplice.text import one_line, printable

IMAGES, ANNOTATIONS = "JPEGImages", "Annotations"
LISTS = ("{}_pairs_pf_pascal.csv", "{}_pairs.csv", "image_pairs/{}_pairs.csv")
"""Possible paths of the list of a split."""

LAYOUT = f"SPLIT_pairs_pf_pascal.csv, SPLIT_pairs.csv or image_pairs/SPLIT_pairs.csv, and {IMAGES}/*.jpg"
REQUIRED_COLUMNS = ("source_image", "target_image", "class")
KEYPOINT_COLUMNS = ("XA", "YA", "XB", "YB")
CATEGORIES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

MAT_NAME, MAT_BYTES, MAT_KEYPOINTS = "kps", 1_000_000, 10_000
"""Name of the keypoints in a MATLAB file, maximum size of the file in bytes, and maximum number of keypoints."""

Row = Mapping[str, str]


def has_layout(root: Path) -> bool:
    """Return True if a folder has this layout, which means that it contains a list of pairs (`LISTS`)."""
    return any(any(root.glob(name.format("*"))) for name in LISTS)


def load(root: Path, split: str) -> KeypointDataset:
    """Load the pairs of a split.

    Args:
        root: folder of the lists. An image is at its path in the list, relative to this folder, or in ``JPEGImages``.
        split: SPLIT in the name of the list: ``train``, ``val`` or ``test`` in PF-PASCAL.

    Raises:
        UserError: if there is no such list, or the list cannot be read, has no pairs or lacks a column.
    """
    paths = [path for name in LISTS if os.path.isfile(path := root / name.format(split))]
    if not paths:
        splits = sorted({path.name.partition("_pairs")[0] for name in LISTS for path in root.glob(name.format("*"))})
        raise UserError(
            f"{printable(str(root))} has no list of split {split}, such as "
            f"{', '.join(name.format(split) for name in LISTS)}; available splits: {', '.join(splits)}"
        )
    path = paths[0]
    count = sum(1 for _ in _rows(path))
    if not count:
        raise UserError(f"{printable(str(path))} has no pairs")
    details = {"layout": "PF-PASCAL", "root": str(absolute(root)), "list": path.name, "split": split}

    def pairs() -> Iterator[KeypointPair | UnusablePair]:
        return (_parse(root, line, row) for line, row in _rows(path))

    return KeypointDataset(f"{folder_name(root)}, layout of PF-PASCAL, {split}", details, count, pairs)


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Read the rows of a list with their line numbers.

    Raises:
        UserError: if the list cannot be read or lacks a column.
    """
    with reading(path), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restval="")
        try:
            columns = reader.fieldnames or ()
            required = REQUIRED_COLUMNS + (() if "flip" in columns else KEYPOINT_COLUMNS)
            if missing := [name for name in required if name not in columns]:
                raise UserError(
                    f"{printable(str(path))} has no column {', '.join(missing)}; a list of pairs has "
                    f"{', '.join(REQUIRED_COLUMNS + KEYPOINT_COLUMNS)}, or flip instead of the last four"
                )
            for row in reader:
                if row.get("flip", "0").strip() in ("", "0"):
                    yield reader.line_num, row
        except csv.Error as error:
            raise UserError(f"{printable(str(path))} is not a CSV file: {error}") from error


def _parse(root: Path, line: int, row: Row) -> KeypointPair | UnusablePair:
    names = [PurePosixPath(row[column]) for column in REQUIRED_COLUMNS[:2]]
    id_ = printable(f"{line}-{'-'.join(name.stem for name in names)}")
    try:
        category = _category(row["class"])
        points = _keypoints(root, category, names, row)
    except FileNotFoundError as error:
        return UnusablePair(id_, one_line(str(error)), missing=True)
    except (ValueError, ArithmeticError) as error:
        return UnusablePair(id_, one_line(str(error)))
    source, target = (KeypointImage(_image_path(root, name)) for name in names)
    return KeypointPair(id_, category, source, target, *points)


def _image_path(root: Path, name: PurePosixPath) -> Path:
    path = root / name
    return path if os.path.isfile(path) else root / IMAGES / name.name


def _category(text: str) -> str:
    number = float(text)
    if number != int(number) or not 1 <= number <= len(CATEGORIES):
        raise ValueError(f"class {text} is not one of 1 to {len(CATEGORIES)}")
    return CATEGORIES[int(number) - 1]


def _keypoints(root: Path, category: str, names: list[PurePosixPath], row: Row) -> tuple[Points, Points]:
    if all(name in row for name in KEYPOINT_COLUMNS):
        xa, ya, xb, yb = (_numbers(row[name]) for name in KEYPOINT_COLUMNS)
        source, target = _stack(ya, xa), _stack(yb, xb)
    else:
        folder = root / ANNOTATIONS / category
        source, target = (read_mat_keypoints(folder / f"{name.stem}.mat")[:, ::-1] for name in names)
    if len(source) != len(target):
        raise ValueError(f"{len(source)} keypoints in the source and {len(target)} in the target")
    visible = np.isfinite(source).all(1) & np.isfinite(target).all(1)
    return source[visible], target[visible]


def _numbers(text: str) -> list[float]:
    """Parse coordinates. An empty entry gives NaN, which marks an invisible keypoint; a blank text has no entries."""
    entries = text.split(";") if text.strip() else []
    return [float(entry) if entry.strip() else math.nan for entry in entries]


def _stack(y: list[float], x: list[float]) -> Points:
    if len(y) != len(x):
        raise ValueError(f"{len(x)} x coordinates and {len(y)} y coordinates")
    return np.array([y, x], np.float64).T


def read_mat_keypoints(path: Path) -> NDArray[np.float64]:
    """Read the keypoints ``(N, 2)`` of a MATLAB file, (x, y), NaN where a point is not visible.

    `scipy.io.loadmat` executes no code of a file. The size of the file and the number of keypoints are limited here.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file has no numeric ``kps`` of shape ``(N, 2)``, cannot be read, or exceeds a limit.
    """
    try:
        if path.stat().st_size > MAT_BYTES:
            raise ValueError(f"the file is larger than {MAT_BYTES} bytes")
        shape = {name: shape for name, shape, _ in whosmat(path)}.get(MAT_NAME, ())
        if len(shape) != 2 or shape[1] != 2 or shape[0] > MAT_KEYPOINTS:
            raise ValueError(f"no {MAT_NAME} of shape (N, 2) with N at most {MAT_KEYPOINTS}")
        return np.asarray(loadmat(path, variable_names=[MAT_NAME])[MAT_NAME], np.float64)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist") from error
    except Exception as error:  # scipy raises many types of exceptions for corrupt files
        raise ValueError(f"cannot read keypoints from {path}: {error}") from error
