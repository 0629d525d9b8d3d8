"""Examples of a training, read from its cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vitsplice.contracts import ROLES, Condition, ConditionName, FeatureRequest, ImageName, Role
from vitsplice.datasets import Pair
from vitsplice.engine.conditions import DescribedImage, pair_condition
from vitsplice.engine.images import RunImages, ViewKey
from vitsplice.engine.targets import Targets, ViewFeatures
from vitsplice.engine.views import View
from vitsplice.matching import MatchVectors
from vitsplice.training.cache import Record, TensorCache
from vitsplice.training.records import Recipe, from_uint8, to_features
from vitsplice.training.views import draw_views


@dataclass(frozen=True)
class StoredFeatures:
    """Stored features of views of a pair in one backbone, read from the cache (a `FeatureBank`).

    Args:
        cache: the cache.
        recipe: what its records depend on.
        backbone: key of the backbone.
        identities: text that identifies the pixels of each image (`Recipe.pixels_id`).
        device: device of the returned features.
    """

    cache: TensorCache
    recipe: Recipe
    backbone: str
    identities: Mapping[ImageName, str]
    device: torch.device

    def stores(self, key: ViewKey) -> bool:
        """Return whether features of a view are stored: of the entire image, or of crops from a bank."""
        return key[1] == "entire" or self.recipe.config.views.of(key[0]).bank is not None

    def get(self, key: ViewKey, view: View, requests: Sequence[FeatureRequest]) -> ViewFeatures | None:
        """Read the features of a view; None if they are not stored."""
        stored = self.recipe.requests_by_view[self.backbone].get(key, ())
        record_key = self.recipe.features_key(self.backbone, self.identities[key[0]], view, stored)
        if record_key not in self.cache or not set(requests) <= set(stored):
            return None
        features = to_features(self.cache[record_key], self.device)
        return {request: features[request] for request in requests}

    def put(self, key: ViewKey, view: View, features: ViewFeatures) -> None:
        """Do nothing: `prepared_data` has stored the features of all views that recur."""


@dataclass(frozen=True)
class TrainingExample:
    """A pair of images with everything that a training step needs of it.

    Args:
        pair: the pair.
        digests: SHA-256 of the files of its images.
        images: ``structure``, ``appearance`` and ``start``, ``(1, 3, H, W)`` in [0, 1]. The start is the structure
            image if no warm start is needed. The appearance image is mirrored if it was matched mirrored.
        condition: the conditions of the generator, each a batch of one, for the entire structure image.
        own_condition: the conditions for the appearance image paired with itself; None if no term applies the generator
            to the appearance image.
        vectors: vectors of the facet ``match``; None if no term requests it.
        banks: stored features by the key of their backbone.
        recipe: what the features depend on.
    """

    pair: Pair
    digests: Mapping[Role, str]
    images: RunImages
    condition: Condition
    own_condition: Condition | None
    vectors: MatchVectors | None
    banks: Mapping[str, StoredFeatures]
    recipe: Recipe

    @property
    def targets(self) -> dict[str, Targets]:
        """Target features by the key of their backbone; those not stored are computed on the example's device."""
        backbones = self.recipe.backbones
        return {name: Targets(self.images, backbones[name], bank, self.vectors) for name, bank in self.banks.items()}

    def views(self, step: int) -> dict[ViewKey, View]:
        """Draw the views of a step (`draw_views`); the crops of a role have the same size in all examples."""
        config = self.recipe.config
        return draw_views(config.views, self.images, self.digests, config.seed, step)


class TrainingData:
    """The examples of a training, one for each pair; each is read when it is requested, in a few milliseconds.

    Tensors are moved to the device in their stored dtype (uint8, or float16 where values are in its range), and
    converted to float32 there.

    Args:
        recipe: what the examples depend on.
        pairs: the pairs.
        digests: SHA-256 of each image file.
        cache: cache with the records of all pairs.
        device: device of the examples.
    """

    def __init__(
        self,
        recipe: Recipe,
        pairs: Sequence[Pair],
        digests: Mapping[Path, str],
        cache: TensorCache,
        device: torch.device,
    ) -> None:
        self.recipe, self.pairs, self.digests, self.device = recipe, tuple(pairs), dict(digests), device
        self._cache = cache

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> TrainingExample:
        """Read an example.

        Raises:
            IndexError: if there is no such pair.
            TrainingCacheError: naming the file, if the cache is damaged.
        """
        pair, recipe = self.pairs[index], self.recipe
        digests = self.digests[pair.structure], self.digests[pair.appearance]
        record = self._cache[recipe.pair_key(*digests)]
        mirrored = bool(record["mirrored"])
        structure, appearance = map(self._pixels, digests)
        names: tuple[ImageName, ...] = ("structure", "appearance", "start")
        identities = {name: recipe.pixels_id(name, *digests, mirrored) for name in names}
        return TrainingExample(
            pair,
            dict(zip(ROLES, digests, strict=True)),
            RunImages(
                {
                    "structure": structure,
                    "appearance": appearance.flip(-1) if mirrored else appearance,
                    "start": self._image(record["start"]) if "start" in record else structure,
                }
            ),
            self._condition(record, *digests),
            self._own_condition(digests[1], mirrored) if recipe.applied_to_appearance else None,
            self._vectors(record) if recipe.has_guided_terms else None,
            {name: StoredFeatures(self._cache, recipe, name, identities, self.device) for name in recipe.backbones},
            recipe,
        )

    def _pixels(self, digest: str) -> Tensor:
        return self._image(self._cache[self.recipe.pixels_key(digest)]["pixels"])

    def _image(self, values: Tensor) -> Tensor:
        return from_uint8(values.to(self.device))

    def _vectors(self, record: Record) -> MatchVectors:
        return MatchVectors(*(record[f"{role}_vectors"].to(self.device).float() for role in ROLES))

    def _condition(self, record: Record, structure: str, appearance: str) -> Condition:
        recipe = self.recipe
        values: dict[ConditionName, Tensor] = {
            name: self._image(record[name]) if name == "start" else record[name].to(self.device).float()
            for name in recipe.stored_conditions
        }
        if "appearance" in recipe.conditions:
            first, second = (DescribedImage(self._pixels(digest), None) for digest in (structure, appearance))
            info = recipe.matching_backbone.backbone.info
            values |= pair_condition(["appearance"], first, second, info, recipe.config.match).values
        return {name: values[name] for name in recipe.conditions}

    def _own_condition(self, digest: str, mirrored: bool) -> Condition:
        condition = self._condition(self._cache[self.recipe.pair_key(digest, digest)], digest, digest)
        if not mirrored:
            return condition
        return {name: value if name == "cls" else value.flip(-1) for name, value in condition.items()}
