"""Comparison of backbones on the user's images: plan from the values of the form, and computation; no layout."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING

from vitsplice.support.progress import ProgressReporter
from vitsplice_app.live import Progress
from vitsplice_app.numbers import whole_number

if TYPE_CHECKING:
    from vitsplice.analysis.compare import BackboneComparison, ComparisonPlan

PRESET = "quick"
"""Preset of the transfers of a comparison."""

_THREAD = ThreadPoolExecutor(1)
"""Thread of all comparisons: each begins only after the one before it has stopped and released its folder."""


def comparison_plan(
    images: Sequence[str], backbones: Sequence[str], transfers: float | None, steps: float | None, style: bool
) -> ComparisonPlan:
    """Return the plan of a comparison with the values of the form.

    Args:
        images: paths of the images.
        backbones: names of the backbones.
        transfers: number of transfers with each backbone, at most the number of images.
        steps: number of steps of each transfer.
        style: whether the images are also compared under the transform 'style', see `ComparisonPlan`.

    Raises:
        UserError: if there are fewer than two images, more transfers than images or no backbone, or if a number is
            missing or has a fraction.
    """
    from vitsplice.analysis.compare import ComparisonPlan

    return ComparisonPlan(
        images=tuple(map(Path, images)),
        backbones=tuple(backbones),
        transfers=whole_number("Transfers with each backbone", transfers),
        preset=PRESET,
        steps=whole_number("Steps of a transfer", steps),
        style="instant" if style else None,
    )


def with_short_names(images: Sequence[str], runs: Path) -> list[str]:
    """Return paths of the same images, from which a comparison derives short names.

    A comparison names images that share a file name by their folders too, which are long hashes for uploads. In that
    case all images get hard links in a folder of ``runs``, so that they are named ``1/photo`` and ``2/photo``. If a
    link cannot be created, ``images`` is returned. Equal ``images`` have equal links.
    """
    paths = list(map(Path, images))
    if len({path.stem for path in paths}) == len(paths):
        return list(images)
    folder = runs / f"images-{_digest(images)}"
    links = [folder / str(number) / path.name for number, path in enumerate(paths, 1)]
    try:
        for path, link in zip(paths, links, strict=True):
            link.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.link(path, link)
    except OSError:
        return list(images)
    return list(map(str, links))


def folder_of(plan: ComparisonPlan, runs: Path) -> Path:
    """Return the folder of a comparison in ``runs``. Equal plans have the same folder, so that `compare` can resume."""
    return runs / f"comparison-{_digest(plan)}"


def _digest(value: object) -> str:
    """Return 16 hexadecimal digits that are the same for equal plans or lists of paths."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def compare(
    plan: ComparisonPlan, folder: Path, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Progress | BackboneComparison]:
    """Compare backbones in another thread, one comparison at a time.

    Args:
        plan: plan of the comparison.
        folder: output folder; finished parts of the same plan are reused.
        stopped: called before each styled image, encoding and transfer, and after each step of a styled image or
            transfer; True stops the comparison.

    Yields:
        The progress before each part and after each step of a transfer; at the end the comparison, unless it was
        stopped. Closing the generator also stops the comparison.

    Raises:
        VitspliceError: see `vitsplice.analysis.compare.compare`.
    """
    from vitsplice.analysis.compare import compare as compare_backbones

    states: SimpleQueue[Progress | None] = SimpleQueue()
    notes: list[str] = []
    closed = Event()
    reporter = ProgressReporter(
        part=lambda name, done, total: states.put(Progress(name, done, total, notes=tuple(notes), unit="parts")),
        note=notes.append,
        stopped=lambda: stopped() or closed.is_set(),
    )
    future = _THREAD.submit(compare_backbones, plan, folder, progress=reporter)
    future.add_done_callback(lambda _: states.put(None))
    try:
        while (state := states.get()) is not None:
            yield state
    finally:
        closed.set()
        future.cancel()
    if comparison := future.result():
        yield comparison
