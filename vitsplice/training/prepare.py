"""Preparation of the cache of a training: missing records are computed.

The pixels of all images come first, then the records of one pair, whose size shows whether the rest will fit.
The space is checked again once all pairs are matched, because only then it is known which views are of mirrored images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import torch

from vitsplice.contracts import ROLES
from vitsplice.datasets import Pair
from vitsplice.engine.problem import check_blur
from vitsplice.errors import Argument, Setting, TrainingCacheError
from vitsplice.support.files import file_sha256, reading
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.text import with_count
from vitsplice.training.cache import TensorCache, format_size, record_bytes
from vitsplice.training.data import TrainingData
from vitsplice.training.jobs import PAIR, JobLists, RecordJob
from vitsplice.training.records import START, Recipe
from vitsplice.training.views import check_shapes

LIMIT = 32 * 10**9
"""Default maximum size of a cache in bytes."""


def prepared_data(
    recipe: Recipe,
    pairs: Sequence[Pair],
    folder: Path,
    *,
    limit: int = LIMIT,
    device: torch.device | str = "cpu",
    progress: ProgressReporter = NULL_REPORTER,
) -> TrainingData | None:
    """Compute the records that a cache lacks, and return the examples of the pairs.

    The next call resumes a stopped or killed preparation.

    Args:
        recipe: what the records depend on; its backbones are on the device.
        pairs: the pairs.
        folder: folder of the cache, which several trainings may share.
        limit: maximum size of the cache in bytes.
        device: device to compute on.
        progress: reports each record (of an image, pair or view); if it stops the work, what is computed stays.

    Returns:
        The examples; None if the progress reporter stopped the work.

    Raises:
        ConfigError: if the crops of the settings are not square, or a blur kernel is too large for them.
        ImageError, UserError: if an image cannot be read.
        OutputBusy: if a record is missing and another process is writing to the folder.
        VitspliceError: if the folder cannot be written to.
        TrainingCacheError: if the records need more space than is available (once the pixels are stored, the message
            says for what share of the missing records of pairs the space is enough), or if a shard is damaged.
    """
    views = recipe.config.views
    check_shapes(views)
    for role in ROLES:
        check_blur(role, views.of(role), recipe.training.side)
    device, cache = torch.device(device), TensorCache(folder, limit)
    work = _Preparation(recipe, pairs, cache, device, progress)
    if not work.complete():
        with cache.writing():
            try:
                work.run()
            except _Stopped:
                return None
            finally:
                cache.flush()
    return TrainingData(recipe, pairs, work.digests, cache, device)


def file_digests(pairs: Iterable[Pair]) -> dict[Path, str]:
    """Compute the SHA-256 of each image file of pairs. Raises UserError if one cannot be read."""
    digests: dict[Path, str] = {}
    for path in dict.fromkeys(path for pair in pairs for path in (pair.structure, pair.appearance)):
        with reading(path):
            digests[path] = file_sha256(path)
    return digests


class _Stopped(Exception):
    """The progress reporter stopped the work."""


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
        return all(job.key in self._cache for job in chain(lists.pixels(), lists.conditions(), lists.views()))

    def run(self) -> None:
        """Compute all missing records. Raises _Stopped."""
        lists = self._lists
        self._compute(lists.pixels())
        self._check_space()
        self._compute(lists.conditions())
        self._check_space()
        self._compute(lists.views())

    def _missing(self, jobs: Iterable[RecordJob]) -> list[RecordJob]:
        return list({job.key: job for job in jobs if job.key not in self._cache}.values())

    def _compute(self, listed: Iterable[RecordJob]) -> None:
        """Compute the records that are missing. Raises _Stopped."""
        jobs = self._missing(listed)
        for number, job in enumerate(jobs):
            if self._progress.stopped():
                raise _Stopped
            self._progress.part(job.description, number, len(jobs))
            self._cache.add(job.key, job.compute())

    def _check_space(self) -> None:
        """Compute the records of one pair, and estimate the size of all missing ones.

        Until all pairs are matched, the views of each appearance image count once, although different pairs may need
        views of the image and of its mirror image.

        Raises:
            TrainingCacheError: if the missing records will not fit.
            _Stopped: if the progress reporter stopped the work.
        """
        pair_job = next(self._lists.conditions())
        self._compute([pair_job])
        samples = {job.kind: job for job in self._lists.views(1)}
        self._compute(samples.values())
        self._cache.flush()
        pair_size, sizes = self._size(pair_job), {kind: self._size(job) for kind, job in samples.items()}
        missing = self._missing(chain(self._lists.conditions(), self._lists.views()))
        # Kinds of missing jobs: PAIR; (backbone, image, kind of view), which belongs to a pair if the image is START;
        # ("appearance with itself",), whose records are about as large as those of PAIR.
        pair_jobs = [job for job in missing if job.kind == PAIR or job.kind[1:2] == (START,)]
        for_pairs = sum(sizes.get(job.kind, pair_size) for job in pair_jobs)
        self._check_fit(for_pairs, sum(sizes.get(job.kind, pair_size) for job in missing) - for_pairs)

    def _size(self, job: RecordJob) -> int:
        return record_bytes(self._cache[job.key].values())

    def _check_fit(self, for_pairs: int, for_images: int) -> None:
        """Raise TrainingCacheError if the missing records need more space than is available.

        Args:
            for_pairs: bytes of the missing records that depend on both images of a pair, over all pairs.
            for_images: bytes of the missing records that depend on a single image, however many pairs it is in.
        """
        available = self._cache.available()
        if for_pairs + for_images <= available:
            return
        some_pairs_fit = for_pairs > 0 and available > for_images
        percent = 100 * (available - for_images) // for_pairs if some_pairs_fit else 0
        some = f"about {percent} %" if percent else "less than 1 %"
        share = f"{some} of the missing features of pairs" if some_pairs_fit else "no features of pairs"
        split = f", of which {format_size(for_pairs)} for pairs and the rest for images" if for_pairs else ""
        enough = f"; the remaining space is enough for {share}" if for_pairs else ""
        raise TrainingCacheError(
            f"the missing features of {with_count(len(self._pairs), 'pair')} of "
            f"{with_count(len(self.digests), 'image')} need about "
            f"{format_size(for_pairs + for_images)}{split}. {self._cache.describe_space()}{enough}",
            *self._advice(some_pairs_fit=some_pairs_fit),
        )

    def _advice(self, *, some_pairs_fit: bool) -> list[str | Setting | Argument]:
        """Return advice on what would need less space, for the end of the message."""
        views = self._recipe.config.views
        settings = ["training.partners"] if some_pairs_fit else []
        settings += [f"views.{role}.bank" for role in ROLES if views.of(role).bank is not None]
        advice: list[str | Setting | Argument] = [
            f": give fewer {'pairs or images' if some_pairs_fit else 'images'}, or lower any of ",
            Setting("training.side"),
        ]
        for name in settings:
            advice += [", ", Setting(name)]
        return [*advice, "; delete the cache if no training needs it, or choose another with ", Argument("cache")]
