"""Preparation of the cache of a training: missing records are computed, after a check of the space that they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from vitsplice.datasets import Pair
from vitsplice.engine.problem import check_blur
from vitsplice.errors import Argument, Setting, TrainingCacheError
from vitsplice.support.files import file_sha256, reading
from vitsplice.support.progress import ProgressReporter
from vitsplice.text import printable
from vitsplice.training.cache import TensorCache, gigabytes, record_bytes
from vitsplice.training.jobs import Job, JobLists
from vitsplice.training.records import Recipe
from vitsplice.training.views import ROLES, check_shapes

LIMIT = 32 * 10**9
"""Default maximum size of a cache in bytes."""


def prepare(
    recipe: Recipe,
    pairs: Sequence[Pair],
    folder: Path,
    *,
    limit: int,
    device: torch.device,
    progress: ProgressReporter,
) -> tuple[dict[Path, str], TensorCache] | None:
    """Compute the records of pairs that a cache does not have; after a kill it resumes.

    Args:
        recipe: what the records depend on; its backbones are on the device.
        pairs: the pairs.
        folder: folder of the cache, which several trainings may share.
        limit: maximum size of the cache in bytes.
        device: device to compute on.
        progress: reports each image and pair; if it stops the work, what is computed stays.

    Returns:
        SHA-256 of each image file, and the cache; None if it was stopped.

    Raises:
        ConfigError: if the crops of the settings are not square.
        ImageError, UserError: if an image cannot be read.
        OutputBusy: if something is missing and another process is writing to the folder.
        TrainingCacheError: if the records need more space than is available (the message says for how many pairs it is
            enough), or if a shard is damaged.
    """
    views = recipe.config.views
    check_shapes(views)
    for role in ROLES:
        check_blur(role, views.of(role), recipe.training.side)
    cache = TensorCache(folder, limit)
    work = _Preparation(recipe, pairs, cache, device, progress)
    if work.complete():
        return work.digests, cache
    with cache.writing():
        try:
            finished = work.run()
        finally:
            cache.flush()
    return (work.digests, cache) if finished else None


def file_digests(pairs: Iterable[Pair]) -> dict[Path, str]:
    """Compute the SHA-256 of each image file of pairs. Raises UserError if one cannot be read."""
    digests: dict[Path, str] = {}
    for path in dict.fromkeys(path for pair in pairs for path in (pair.structure, pair.appearance)):
        with reading(path):
            digests[path] = file_sha256(path)
    return digests


class _Preparation:
    def __init__(
        self,
        recipe: Recipe,
        pairs: Sequence[Pair],
        cache: TensorCache,
        device: torch.device,
        progress: ProgressReporter,
    ) -> None:
        self.digests = file_digests(pairs)
        self._recipe, self._pairs, self._cache, self._progress = recipe, pairs, cache, progress
        self._lists = JobLists(recipe, pairs, self.digests, cache, device)

    def complete(self) -> bool:
        """Return whether no record is missing."""
        lists = self._lists
        return not any(map(self._missing, (lists.pixels(), lists.conditions(), lists.views())))

    def run(self) -> bool:
        """Compute all missing records; return False if it was stopped."""
        lists = self._lists
        return (
            self._all(lists.pixels())
            and self._check_space()
            and self._all(lists.conditions())
            and self._all(lists.views())
        )

    def _missing(self, jobs: Iterable[Job]) -> list[Job]:
        return list({job.key: job for job in jobs if job.key not in self._cache}.values())

    def _all(self, listed: Iterable[Job]) -> bool:
        """Compute the records that are missing; return False if it was stopped."""
        jobs = self._missing(listed)
        for number, job in enumerate(jobs):
            if self._progress.stopped():
                return False
            self._progress.part(job.description, number, len(jobs))
            self._cache.add(job.key, job.compute())
        return True

    def _check_space(self) -> bool:
        """Compute the records of one pair, and estimate the size of all missing ones; return False if it was stopped.

        Raises:
            TrainingCacheError: if they will not fit.
        """
        pair = next(iter(self._lists.conditions()))
        if not self._all([pair]):
            return False
        samples = {job.kind: job for job in self._lists.views(1)}
        if not self._all(samples.values()):
            return False
        self._cache.flush()
        sizes = {kind: self._size(job) for kind, job in samples.items()}
        needed_for_views = sum(sizes[job.kind] for job in self._missing(self._lists.all_views()))
        self._check_fit(needed_for_views, self._size(pair), len(self._missing(self._lists.conditions())))
        return True

    def _size(self, job: Job) -> int:
        return record_bytes(self._cache[job.key].values())

    def _check_fit(self, needed_for_views: int, pair_size: int, pairs: int) -> None:
        """Raise TrainingCacheError if the missing records need more space than is available."""
        available = self._cache.available()
        needed = needed_for_views + pair_size * pairs
        if needed <= available:
            return
        enough = max(0, available - needed_for_views) // pair_size
        raise TrainingCacheError(
            f"features of {len(self._pairs)} pairs of {len(self.digests)} training images need up to "
            f"{gigabytes(needed)}: {gigabytes(pair_size)} a pair, and {gigabytes(needed_for_views)} for views of the "
            f"images. {printable(str(self._cache.folder))} holds {gigabytes(self._cache.bytes)}, and "
            f"{gigabytes(available)} more are available, which is enough for ",
            *_advice(enough),
        )


def _advice(pairs: int) -> list[str | Setting | Argument]:
    """Say for how many pairs the space is enough, and what needs less of it."""
    advice: list[str | Setting | Argument] = [
        Setting("views.structure.bank"),
        ", ",
        Setting("views.appearance.bank"),
        " or ",
        Setting("training.side"),
        "; or choose another folder with ",
        Argument("cache"),
    ]
    if pairs < 1:
        return ["no pairs of that many images: give fewer images, or lower ", *advice]
    return [f"{pairs} more pairs: give fewer pairs or images, or lower ", Setting("training.partners"), ", ", *advice]
