"""Jobs that compute the records of a training: of each image, of each pair, and of each stored view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from vitsplice.datasets import Pair
from vitsplice.engine.images import ViewKey
from vitsplice.training.cache import Record, TensorCache
from vitsplice.training.compute import RecordComputer
from vitsplice.training.records import Recipe
from vitsplice.training.views import stored_views

PAIR = ("pair",)
"""Kind of the records of pairs, except those of an appearance image paired with itself."""


@dataclass(frozen=True)
class RecordJob:
    """A record to compute.

    Args:
        key: key of the record.
        kind: kind of the record; records of one kind have about the same size.
        description: description for progress reports.
        compute: function that computes the record.
    """

    key: str
    kind: tuple[str, ...]
    description: str
    compute: Callable[[], Record]


def by_neighbourhood(pairs: Sequence[Pair]) -> list[Pair]:
    """Sort pairs so that those of one image are near each other (Cuthill and McKee 1969).

    Only the features of some images for matching (`DescribedImage`) fit in memory; in this order few are computed more
    than once.
    """
    if not pairs:
        return []
    paths = dict.fromkeys(path for pair in pairs for path in (pair.structure, pair.appearance))
    images = {path: number for number, path in enumerate(paths)}
    ends = np.array([[images[pair.structure], images[pair.appearance]] for pair in pairs])
    graph = csr_array((np.ones(len(pairs)), (ends[:, 0], ends[:, 1])), (len(images), len(images)))
    positions = np.argsort(reverse_cuthill_mckee(graph))[ends]
    return [pairs[index] for index in np.lexsort((positions.min(1), positions.max(1)))]


class JobLists:
    """Lists the jobs for the records of pairs; a record may occur several times in a list.

    Args:
        recipe: what the records depend on.
        pairs: the pairs.
        digests: SHA-256 of each image file.
        cache: the cache; it must hold the pixels of all images before conditions are computed or views are listed.
        device: device to compute on.
    """

    def __init__(
        self,
        recipe: Recipe,
        pairs: Sequence[Pair],
        digests: Mapping[Path, str],
        cache: TensorCache,
        device: torch.device,
    ) -> None:
        self._recipe, self._digests, self._cache = recipe, digests, cache
        self._pairs = by_neighbourhood(pairs)
        appearances = frozenset(pair.appearance for pair in pairs)
        self._computer = RecordComputer(recipe, digests, appearances, cache, device)

    def pixels(self) -> Iterator[RecordJob]:
        """List the jobs for the pixels of all images."""
        for path, digest in self._digests.items():
            compute = partial(self._computer.pixels, path)
            yield RecordJob(self._recipe.pixels_key(digest), ("pixels",), f"image {path.name}", compute)

    def conditions(self) -> Iterator[RecordJob]:
        """List the jobs for pairs.

        If a term applies the generator to appearance images, each of them is also paired with itself.
        """
        yield from (self._pair_job(pair, PAIR) for pair in self._pairs)
        if self._recipe.applied_to_appearance:
            appearances = dict.fromkeys(pair.appearance for pair in self._pairs)
            yield from (self._pair_job(Pair("", path, path), ("appearance with itself",)) for path in appearances)

    def _pair_job(self, pair: Pair, kind: tuple[str, ...]) -> RecordJob:
        description = f"pair {pair.structure.name}, {pair.appearance.name}"
        return RecordJob(self.pair_key(pair), kind, description, partial(self._computer.conditions, pair))

    def pair_key(self, pair: Pair) -> str:
        """Return the key of the record of a pair."""
        return self._recipe.pair_key(self._digests[pair.structure], self._digests[pair.appearance])

    def views(self, number: int | None = None) -> Iterator[RecordJob]:
        """List the jobs for the stored views of the images of the first pairs.

        An appearance image is taken as not mirrored until the pair is matched.

        Args:
            number: number of pairs; None: all.
        """
        seen: set[tuple[str, ViewKey, str]] = set()
        for pair in self._pairs[:number]:
            yield from self._views_of_pair(pair, self._mirrored(pair), seen)

    def _mirrored(self, pair: Pair) -> bool:
        """Return whether the appearance image of a pair is mirrored; False if the pair is not matched yet."""
        key = self.pair_key(pair)
        return self._recipe.needs_match and key in self._cache and bool(self._cache[key]["mirrored"])

    def _views_of_pair(self, pair: Pair, mirrored: bool, seen: set[tuple[str, ViewKey, str]]) -> Iterator[RecordJob]:
        """List the jobs for views of the pair's images that are not in ``seen`` yet, and add the views to it."""
        digests = self._digests[pair.structure], self._digests[pair.appearance]
        for backbone, requests in self._recipe.requests_by_view.items():
            for view_key in requests:
                identity = self._recipe.pixels_id(view_key[0], *digests, mirrored)
                if (backbone, view_key, identity) not in seen:
                    seen.add((backbone, view_key, identity))
                    yield from self._views_of_image(backbone, view_key, pair, mirrored, identity)

    def _views_of_image(
        self, backbone: str, view_key: ViewKey, pair: Pair, mirrored: bool, identity: str
    ) -> Iterator[RecordJob]:
        path = pair.appearance if view_key[0] == "appearance" else pair.structure
        pixels = self._cache[self._recipe.pixels_key(self._digests[path])]["pixels"]
        config, requests = self._recipe.config, self._recipe.requests_by_view[backbone][view_key]
        for view in stored_views(config.views, view_key, pixels, self._digests[path], config.seed):
            record_key = self._recipe.features_key(backbone, identity, view, requests)
            compute = partial(self._computer.view, backbone, view_key, pair, mirrored, view)
            yield RecordJob(record_key, (backbone, *view_key), f"features of {path.name}", compute)
