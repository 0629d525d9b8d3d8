"""Computing the records of a training: pixels of an image, conditions of a pair, features of a view."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vitsplice.contracts import ImageName
from vitsplice.datasets import Pair
from vitsplice.engine.conditions import DescribedImage, described_image, pair_condition
from vitsplice.engine.images import ViewKey
from vitsplice.engine.views import View
from vitsplice.images import read, resize_to, to_uint8
from vitsplice.matching import match_vectors
from vitsplice.numerics import numerics
from vitsplice.support.sized_cache import SizedCache
from vitsplice.training.cache import Record, TensorCache
from vitsplice.training.records import Recipe, from_features, from_uint8, half

MAX_DESCRIBED_BYTES = 3 * 2**29
"""Maximum size of all instances of `DescribedImage` in memory; the least recently used ones are dropped."""


class RecordComputer:
    """Computes records from image files and from other records in the cache.

    Args:
        recipe: what the records depend on; its backbones are on the device.
        digests: SHA-256 of each image file.
        appearances: the appearance images of all pairs; only they may be matched mirrored.
        cache: the cache; it must hold the pixels of an image before conditions or views of it are computed, and the
            record of a pair before views of its start.
        device: device to compute on.
    """

    def __init__(
        self,
        recipe: Recipe,
        digests: Mapping[Path, str],
        appearances: frozenset[Path],
        cache: TensorCache,
        device: torch.device,
    ) -> None:
        self._recipe, self._digests, self._appearances = recipe, digests, appearances
        self._cache, self._device = cache, device
        self._described = SizedCache[Path, DescribedImage](MAX_DESCRIBED_BYTES, _bytes)

    @numerics(grad=False)
    def pixels(self, path: Path) -> Record:
        """Read an image as uint8 with ``training.side`` as its shorter side. Raises ImageError."""
        return {"pixels": to_uint8(resize_to(read(path).pixels, self._recipe.training.side))}

    @numerics(grad=False)
    def conditions(self, pair: Pair) -> Record:
        """Compute what the recipe needs of a pair: its conditions, its start and the vectors of the facet ``match``.

        The record also states whether the appearance image was matched mirrored; its vectors are then mirrored, too.
        """
        recipe, info = self._recipe, self._recipe.matching_backbone.backbone.info
        structure, appearance = self._describe(pair.structure), self._describe(pair.appearance)
        condition = pair_condition(recipe.computed_conditions, structure, appearance, info, recipe.config.match)
        match = condition.match
        record: Record = {"mirrored": torch.tensor(match is not None and match.mirrored)}
        for name in recipe.stored_conditions:
            value = condition.values[name]
            record[name] = to_uint8(value) if name == "start" else half(value)
        if recipe.has_guided_terms and match is not None:
            vectors = match_vectors(match, appearance.pixels)
            oriented = vectors.appearance.flip(-1) if match.mirrored else vectors.appearance
            record |= {"structure_vectors": half(vectors.structure), "appearance_vectors": half(oriented)}
        return record

    @numerics(grad=False)
    def view(self, backbone: str, key: ViewKey, pair: Pair, mirrored: bool, view: View) -> Record:
        """Compute the target features of a view of an image of a pair."""
        image = self._oriented(key[0], pair, mirrored)
        requests = self._recipe.requests_by_view[backbone][key]
        return from_features(self._recipe.backbones[backbone].features({key: view(image)}, requests)[key])

    def _oriented(self, name: ImageName, pair: Pair, mirrored: bool) -> Tensor:
        """Return an image of a pair; the appearance image is mirrored if ``mirrored``."""
        if name == "start":
            key = self._recipe.pair_key(self._digests[pair.structure], self._digests[pair.appearance])
            return from_uint8(self._cache[key]["start"].to(self._device))
        image = self._image(pair.appearance if name == "appearance" else pair.structure)
        return image.flip(-1) if name == "appearance" and mirrored else image

    def _image(self, path: Path) -> Tensor:
        stored = self._cache[self._recipe.pixels_key(self._digests[path])]["pixels"]
        return from_uint8(stored.to(self._device))

    def _describe(self, path: Path) -> DescribedImage:
        """Describe an image, once for all its pairs as far as memory allows."""
        return self._described.get(path, lambda: self._compute_description(path))

    def _compute_description(self, path: Path) -> DescribedImage:
        recipe = self._recipe
        return described_image(
            self._image(path),
            recipe.matching_backbone.backbone,
            recipe.computed_conditions,
            recipe.config.match.grid,
            appearance=path in self._appearances,
        )


def _bytes(image: DescribedImage) -> int:
    return image.pixels.nbytes + (image.description.nbytes if image.description else 0)
