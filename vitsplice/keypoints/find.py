"""Which data set is meant by what was given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vitsplice.errors import UserError
from vitsplice.images import EXAMPLE_PAIRS, example
from vitsplice.keypoints import pfpascal, spair, warps
from vitsplice.keypoints.pairs import DataSet
from vitsplice.text import printable


def find(
    sources: Sequence[Path] = (), split: str | None = None, subset: str | None = None, change: str | None = None
) -> DataSet:
    """The data set in a folder, or images under known warps; the packaged images if nothing is given.

    Args:
        sources: one folder in the layout of SPair-71k or PF-PASCAL, or images.
        split: of a data set; None is ``test``.
        subset: of SPair-71k: ``large`` (as None is) or ``small``.
        change: of the look of warped images (`vitsplice.keypoints.warps.read`); None is ``jitter``.

    Raises:
        UserError: saying what was looked for.
    """
    folders = [path for path in sources if os.path.isdir(path)]
    if folders and len(sources) > 1:
        raise UserError(f"give one folder, or images: {printable(str(folders[0]))} is a folder and not the only one")
    if folders and change:
        raise UserError("images of a data set are taken as they are; leave the change out, or give images")
    if folders and spair.is_one(folders[0]):
        return spair.read(folders[0], split or "test", subset or spair.SUBSETS[0])
    if subset:
        raise UserError("only a data set in SPair-71k's layout has a subset; leave it out")
    if folders and pfpascal.is_one(folders[0]):
        return pfpascal.read(folders[0], split or "test")
    if folders:
        raise UserError(
            f"{printable(str(folders[0]))} has neither SPair-71k's layout ({spair.LAYOUT_IN_WORDS}) "
            f"nor PF-PASCAL's ({pfpascal.LAYOUT_IN_WORDS}); for known warps give images"
        )
    if split:
        raise UserError("known warps have no splits; leave the split out, or give the folder of a data set")
    images = tuple(sources) or tuple(path for name in EXAMPLE_PAIRS for path in example(name))
    return warps.read(images, change or warps.CHANGE)
