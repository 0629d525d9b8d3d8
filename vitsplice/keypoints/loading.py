"""Load a keypoint data set: a folder in a known layout, or images under synthetic warps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vitsplice.analysis.transforms import APPEARANCE_TRANSFORMS, WARPS, grid_centres
from vitsplice.errors import Argument, UserError
from vitsplice.images import EXAMPLE_PAIRS, example
from vitsplice.keypoints import pfpascal, spair
from vitsplice.keypoints.dataset import KeypointDataset, KeypointImage, KeypointPair
from vitsplice.support.files import absolute, first_of_each_file
from vitsplice.text import printable

KEYPOINTS_PER_SIDE = 8
"""Keypoints per side of their grid on a warped image; those that are not in the original image are excluded."""

APPEARANCES = (*APPEARANCE_TRANSFORMS, "none")
DEFAULT_APPEARANCE = "jitter"


def load_dataset(
    sources: Sequence[Path] = (), split: str | None = None, subset: str | None = None, appearance: str | None = None
) -> KeypointDataset:
    """Load the data set in a folder, or images under synthetic warps.

    Args:
        sources: a folder in the layout of SPair-71k or PF-PASCAL, or images; empty: the packaged images.
        split: split of the data set in a folder; None: ``test``.
        subset: list of pairs of SPair-71k, ``large`` or ``small``; None: ``large``.
        appearance: appearance transform of warped images; see `synthetic_warps`. None: ``jitter``.

    Raises:
        UserError: if a source does not exist, there is no such split, subset or transform, or an argument does not
            apply to these sources.
    """
    root = next((path for path in sources if os.path.isdir(path)), None)
    if root and len(sources) > 1:
        raise UserError(f"give one folder, or images: {printable(str(root))} is a folder among other sources")
    if missing := [path for path in sources if path != root and not os.path.isfile(path)]:
        raise UserError(f"{printable(str(missing[0]))} does not exist; give images, or the folder of a data set")
    if root and appearance:
        raise UserError(
            "the images of a data set are not transformed; leave out ", Argument("appearance"), ", or give images"
        )
    if root and spair.has_layout(root):
        return spair.load(root, split or "test", subset or "large")
    if subset:
        given = f"{printable(str(root))} is not such a folder" if root else "no folder is given"
        raise UserError(f"only the folder of a data set in the layout of SPair-71k has a subset; {given}")
    if root and pfpascal.has_layout(root):
        return pfpascal.load(root, split or "test")
    if root:
        raise UserError(
            f"{printable(str(root))} has neither the layout of SPair-71k ({spair.LAYOUT}) nor that of PF-PASCAL "
            f"({pfpascal.LAYOUT}); give images for synthetic warps"
        )
    if split:
        raise UserError(
            "synthetic warps have no splits; leave out ", Argument("split"), ", or give the folder of a data set"
        )
    images = tuple(sources) or tuple(path for name in EXAMPLE_PAIRS for path in example(name))
    return synthetic_warps(images, appearance or DEFAULT_APPEARANCE)


def synthetic_warps(images: Sequence[Path], appearance: str = DEFAULT_APPEARANCE) -> KeypointDataset:
    """Pair every image, as the target, with itself under every warp, as the source.

    The keypoints of the warped image form a grid. The warp yields the corresponding points of the original image.

    Under a warp alone, the pixels around a keypoint are the same in both images, and features of random weights, which
    preserve pixel information, match them well. So the appearance of the warped image is changed too.

    Args:
        images: paths; further paths of the same file are ignored.
        appearance: appearance transform of the warped image, one of `APPEARANCES`.

    Raises:
        UserError: if there is no such transform.
    """
    if appearance not in APPEARANCES:
        raise UserError(f"unknown appearance '{printable(appearance)}'; choose one of {', '.join(APPEARANCES)}")
    images = tuple(map(absolute, first_of_each_file(images)))
    details = {
        "warps": list(WARPS),
        "appearance": appearance,
        "keypoints": KEYPOINTS_PER_SIDE**2,
        "images": [str(path) for path in images],
    }
    transform = "" if appearance == "none" else appearance

    def pairs() -> Iterator[KeypointPair]:
        grid = grid_centres(KEYPOINTS_PER_SIDE, KEYPOINTS_PER_SIDE)
        for number, path in enumerate(images, 1):
            for name, to_original in WARPS.items():
                yield KeypointPair(
                    f"{number}-{printable(path.stem)}-{name}",
                    name,
                    KeypointImage(path, name, transform),
                    KeypointImage(path),
                    source_points=grid.numpy(),
                    target_points=to_original(grid).numpy(),
                    unit="sides",
                )

    name = f"synthetic warps, appearance transform: {appearance}"
    return KeypointDataset(name, details, len(images) * len(WARPS), pairs)
