"""Keypoints of an image from a MATLAB file of PF-PASCAL.

`scipy.io.loadmat` runs nothing that is in a file; how large one may be is bounded here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import loadmat, whosmat

from vitsplice.keypoints.pairs import Points

LARGEST, MOST = 1_000_000, 10_000
"""Bytes of a file, and keypoints."""

NAME = "kps"


def keypoints(path: Path) -> Points:
    """The keypoints ``(N, 2)``, across and down, NaN where one is not seen.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        shape = shapes.get(NAME, ())
        if len(shape) != 2 or shape[1] != 2 or shape[0] > MOST:
            raise ValueError(f"no {NAME} of (N, 2)")
        return np.asarray(loadmat(path, variable_names=[NAME])[NAME], np.float64)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist") from error
    except Exception as error:  # scipy lets many kinds through on damaged files
        raise ValueError(f"{path} holds no keypoints: {error}") from error
