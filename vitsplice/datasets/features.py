"""Features of many images, one image at a time; what is finished is kept in a file until all is."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vitsplice.backbones.sizing import Resize
from vitsplice.contracts import Backbone
from vitsplice.errors import ImageError
from vitsplice.images import read
from vitsplice.images.stamp import image_stamp
from vitsplice.numerics import numerics
from vitsplice.support.jsonl import JsonLinesLog, key_of
from vitsplice.support.progress import ProgressReporter

SIZE, LONGEST = 224, 480
"""Of the shorter side at which the backbone looks, as in the released code of Splice, and the most of the longer."""


@dataclass(frozen=True)
class Feature:
    """An image's feature of appearance.

    Args:
        sha256: of the file.
        values: ``(D,)``.
    """

    sha256: str
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Looked:
    """What was found.

    Args:
        features: by path, of the images that can be read.
        broken: why the others cannot be.
    """

    features: dict[Path, Feature]
    broken: tuple[str, ...]


def features(
    images: Sequence[Path],
    backbone: Backbone,
    device: torch.device,
    kept: Path,
    progress: ProgressReporter,
) -> Looked | None:
    """Features of images, or None if it was stopped.

    Args:
        images: paths.
        backbone: that looks at them, on its device.
        device: that of the backbone.
        kept: a file of features by image and backbone, which is made, or gone on with.
        progress: told what is looked at, and how many of how many were.

    Raises:
        VitspliceError: if the file cannot be written.
    """
    found: dict[Path, Feature] = {}
    broken = []
    network = (backbone.info.name, backbone.info.sha256, SIZE)
    with JsonLinesLog(kept) as log:
        for done, path in enumerate(images):
            if progress.stopped():
                return None
            progress.part(path.name, done, len(images))
            try:
                key = key_of(*network, *image_stamp(path))
                feature = _parsed(log[key]) if key in log else None
                if feature is None:
                    feature = _look(path, backbone, device)
                    values = b64encode(feature.values.tobytes()).decode()
                    log.add(key, {"sha256": feature.sha256, "feature": values})
                found[path] = feature
            except ImageError as error:
                broken.append(str(error))
    return Looked(found, tuple(broken))


@numerics(grad=False)
def _look(path: Path, backbone: Backbone, device: torch.device) -> Feature:
    image = read(path)
    request = backbone.info.appearance
    pixels = Resize(SIZE, LONGEST)(image.pixels.to(device), backbone.info)
    values = backbone(pixels, (request,))[request].values.flatten()
    return Feature(image.sha256, values.float().cpu().numpy())


def _parsed(record: dict[str, object]) -> Feature | None:
    """A feature from a line of the file, or None if it is none."""
    try:
        values = np.frombuffer(b64decode(str(record["feature"]), validate=True), np.float32)
    except (ValueError, KeyError):
        return None
    return Feature(str(record["sha256"]), values) if record.get("sha256") and len(values) else None
