"""Preparing the cache of a training: which records there are, which are missing, and how much space they need."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from vitsplice.datasets import Pair
from vitsplice.engine.images import ViewKey
from vitsplice.errors import Argument, Setting, TrainingCacheError
from vitsplice.support.files import file_sha256, reading
from vitsplice.support.progress import ProgressReporter
from vitsplice.text import printable
from vitsplice.training.cache import Record, TensorCache, gigabytes, record_bytes
from vitsplice.training.compute import RecordComputer
from vitsplice.training.records import Recipe
from vitsplice.training.views import check_shapes, stored_views

LIMIT = 32 * 10**9
"""Default maximum size of a cache in bytes."""


@dataclass(frozen=True)
class Job:
    """A record to compute.

    Args:
        key: key of the record.
        kind: records of one kind have about the same size.
        description: description for progress reports.
        compute: function that computes it.
    """

    key: str
    kind: tuple[str, ...]
    description: str
    compute: Callable[[], Record]


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
        TrainingCacheError: if the records need more space than is allowed or free; it says for how many pairs it is
            enough. Or if a shard is damaged.
    """
    check_shapes(recipe.config.views)
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
        appearances = frozenset(pair.appearance for pair in pairs)
        self._computer = RecordComputer(recipe, self.digests, appearances, cache, device)

    def complete(self) -> bool:
        """Return whether no record is missing."""
        return not (self._missing(self._pixels()) or self._missing(self._conditions()) or self._missing(self._views()))

    def run(self) -> bool:
        """Compute all missing records; return False if it was stopped."""
        if not self._all(self._missing(self._pixels())):
            return False
        self._check_space()
        return self._all(self._missing(self._conditions())) and self._all(self._missing(self._views()))

    def _missing(self, jobs: Iterable[Job]) -> list[Job]:
        return list({job.key: job for job in jobs if job.key not in self._cache}.values())

    def _all(self, jobs: Sequence[Job]) -> bool:
        for number, job in enumerate(jobs):
            if self._progress.stopped():
                return False
            self._progress.part(job.description, number, len(jobs))
            self._cache.add(job.key, job.compute())
        return True

    def _check_space(self) -> None:
        """Compute the first pair and a view of each kind, and raise TrainingCacheError if all will not fit."""
        if not self._all(self._missing(self._conditions())[:1]):
            return
        samples = {job.kind: job for job in self._views(self._pairs[:1])}
        if not self._all(self._missing(samples.values())):
            return
        sizes = {kind: record_bytes(self._cache[job.key].values()) for kind, job in samples.items()}
        self._cache.flush()
        pair_size = record_bytes(self._cache[self._pair_key(self._pairs[0])].values())
        conditions, views = self._missing(self._conditions()), self._missing(self._views(either_side=True))
        needed_for_views, available = sum(sizes[job.kind] for job in views), self._cache.available()
        needed = needed_for_views + pair_size * len(conditions)
        if needed <= available:
            return
        enough = max(0, available - needed_for_views) // pair_size
        raise TrainingCacheError(
            f"features of {len(self._pairs)} pairs of {len(self.digests)} training images need up to "
            f"{gigabytes(needed)}: {gigabytes(pair_size)} a pair, and {gigabytes(needed_for_views)} for views of the "
            f"images. {printable(str(self._cache.folder))} has {gigabytes(self._cache.bytes)} and may have "
            f"{gigabytes(available)} more, which is enough for ",
            *self._advice(enough, len(conditions)),
        )

    def _advice(self, enough: int, pairs: int) -> list[str | Setting | Argument]:
        """Say for how many pairs the space is enough, and which settings need less."""
        partners = math.floor(self._recipe.training.partners * enough / max(1, pairs))
        smaller: list[str | Setting | Argument] = [
            Setting("views.structure.bank"),
            ", ",
            Setting("views.appearance.bank"),
            " or ",
            Setting("training.side"),
            "; or choose another folder with ",
            Argument("cache"),
        ]
        if partners < 1:
            return ["no pairs of so many images; give fewer images, or lower ", *smaller]
        return [f"{enough} pairs: give ", Setting("training.partners", partners), ", or lower ", *smaller]

    def _pixels(self) -> Iterator[Job]:
        for path, digest in self.digests.items():
            compute = partial(self._computer.pixels, path)
            yield Job(self._recipe.pixels_key(digest), ("pixels",), f"image {path.name}", compute)

    def _conditions(self) -> Iterator[Job]:
        """List the pairs; for terms that apply the generator to the appearance image, also that with itself."""
        appearances = dict.fromkeys(pair.appearance for pair in self._pairs if self._recipe.applied_to_appearance)
        for pair in (*self._pairs, *(Pair("", path, path) for path in appearances)):
            description = f"pair {pair.structure.name}, {pair.appearance.name}"
            compute = partial(self._computer.conditions, pair)
            yield Job(self._pair_key(pair), ("pair",), description, compute)

    def _pair_key(self, pair: Pair) -> str:
        return self._recipe.pair_key(self.digests[pair.structure], self.digests[pair.appearance])

    def _views(self, pairs: Sequence[Pair] | None = None, *, either_side: bool = False) -> Iterator[Job]:
        """List the stored views of the images of pairs.

        Args:
            pairs: computed pairs; None: all.
            either_side: list an appearance image both as it is and mirrored, for pairs that are not computed.
        """
        seen: set[tuple[str, ViewKey, str]] = set()
        for pair in self._pairs if pairs is None else pairs:
            for mirrored in [False, True] if either_side and self._recipe.matched else [self._mirrored(pair)]:
                digests = self.digests[pair.structure], self.digests[pair.appearance]
                for name, targets in self._recipe.targets.items():
                    for key in targets:
                        identity = self._recipe.image_identity(key[0], *digests, mirrored)
                        if (name, key, identity) not in seen:
                            seen.add((name, key, identity))
                            yield from self._views_of(name, key, pair, mirrored, identity)

    def _mirrored(self, pair: Pair) -> bool:
        return self._recipe.matched and bool(self._cache[self._pair_key(pair)]["mirrored"])

    def _views_of(self, name: str, key: ViewKey, pair: Pair, mirrored: bool, identity: str) -> Iterator[Job]:
        path = pair.appearance if key[0] == "appearance" else pair.structure
        pixels = self._cache[self._recipe.pixels_key(self.digests[path])]["pixels"]
        config = self._recipe.config
        for view in stored_views(config.views, key, pixels, self.digests[path], config.seed):
            record = self._recipe.features_key(name, identity, view, self._recipe.targets[name][key])
            compute = partial(self._computer.view, name, key, pair, mirrored, view)
            yield Job(record, (name, *key), f"features of {path.name}", compute)
