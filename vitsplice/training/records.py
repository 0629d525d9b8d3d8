"""Records of a training's cache: their keys, and the conversion of features and pixels to small dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor

from vitsplice.config import RunConfig, TrainingConfig
from vitsplice.contracts import MATCH, SPATIAL, ConditionName, FeatureRequest, Features, ImageName
from vitsplice.engine.feature_bank import ViewFeatures
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import ViewKey
from vitsplice.engine.targets import backbone_requests
from vitsplice.engine.terms import WeightedTerm, target_requests
from vitsplice.engine.views import View
from vitsplice.training.cache import Record, record_key

START: ConditionName = "start"

LARGEST = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class Recipe:
    """Everything that the features of the training images depend on, besides the images.

    Args:
        config: settings with ``training``, with resolved device and precision.
        backbones: backbones by their keys in the settings; the first matches the images.
        terms: the weighted loss terms; none: examples without target features.
        conditions: conditions that the generator requests.
    """

    config: RunConfig
    backbones: Mapping[str, SizedBackbone]
    terms: tuple[WeightedTerm, ...]
    conditions: tuple[ConditionName, ...]

    @property
    def training(self) -> TrainingConfig:
        """Settings of the training."""
        return self.config.training or TrainingConfig()

    @property
    def matching(self) -> SizedBackbone:
        """The backbone that matches the images."""
        return next(iter(self.backbones.values()))

    @cached_property
    def guided(self) -> bool:
        """Whether a term requests the correspondence."""
        return any(MATCH in term.term.requests for term in self.terms)

    @cached_property
    def has_start(self) -> bool:
        """Whether the warm start is needed: as a condition, or as the target of a term."""
        return START in self.conditions or any(term.target[0] == START for term in self.terms)

    @cached_property
    def matched(self) -> bool:
        """Whether the images of a pair are matched."""
        return self.guided or self.has_start or bool(set(SPATIAL).intersection(self.conditions))

    @cached_property
    def applied_to_appearance(self) -> bool:
        """Whether a term applies the generator to the appearance image."""
        return any(term.input[0] == "appearance" for term in self.terms)

    @cached_property
    def stored_conditions(self) -> tuple[ConditionName, ...]:
        """The conditions that are stored; ``appearance`` is computed from pixels."""
        stored = [name for name in self.conditions if name != "appearance"]
        return tuple(dict.fromkeys([*stored, START] if self.has_start else stored))

    @cached_property
    def computed_conditions(self) -> tuple[ConditionName, ...]:
        """The conditions that are computed: of guided terms also the start, which implies a correspondence."""
        return tuple(dict.fromkeys([*self.stored_conditions, START] if self.matched else self.stored_conditions))

    @cached_property
    def targets(self) -> dict[str, dict[ViewKey, tuple[FeatureRequest, ...]]]:
        """The features that need a backbone, by its key and by view."""
        return {
            name: {
                key: needed
                for key, requests in target_requests(term for term in self.terms if term.backbone == name).items()
                if (needed := backbone_requests(requests))
            }
            for name in self.backbones
        }

    def stores(self, key: ViewKey) -> bool:
        """Return whether features of a view are stored: of the entire image, or of crops from a bank."""
        return key[1] == "entire" or self.config.views.of(key[0]).bank is not None

    def pixels_key(self, sha256: str) -> str:
        """Return the key of the pixels of an image."""
        return record_key("pixels", image=sha256, side=self.training.side)

    def pair_key(self, structure: str, appearance: str) -> str:
        """Return the key of what is computed from both images of a pair, given their SHA-256."""
        return record_key(
            "pair",
            images=[structure, appearance],
            side=self.training.side,
            match=self.config.match.model_dump() if self.matched else None,
            backbone=self._identity(next(iter(self.backbones))),
            parts=sorted([*self.stored_conditions, *(["vectors"] if self.guided else [])]),
        )

    def image_identity(self, name: ImageName, structure: str, appearance: str, mirrored: bool) -> str:
        """Return text that identifies the pixels of an image of a pair, given the SHA-256 of both files."""
        if name == "start":
            return f"start {self.pair_key(structure, appearance)}"
        return structure if name == "structure" else f"{appearance}{' mirrored' if mirrored else ''}"

    def features_key(self, name: str, image: str, view: View, requests: tuple[FeatureRequest, ...]) -> str:
        """Return the key of features of a view of an image, given text that identifies its pixels."""
        resize = self.backbones[name].resize
        return record_key(
            "features",
            image=image,
            side=self.training.side,
            view=asdict(view),
            backbone=self._identity(name),
            resize=[type(resize).__name__, vars(resize)],
            requests=sorted(map(str, requests)),
        )

    def _identity(self, name: str) -> list[str]:
        info = self.backbones[name].backbone.info
        precision = self.config.backbones[name].precision or self.config.precision
        return [info.name, info.sha256, precision, str(info.structure), str(info.appearance)]


def from_pixels(pixels: Tensor) -> Tensor:
    """Round an image in [0, 1] to uint8."""
    return (pixels * 255).round().clamp(0, 255).to(torch.uint8)


def to_pixels(values: Tensor) -> Tensor:
    """Convert uint8 to an image in [0, 1]."""
    return values.float() / 255


def half(values: Tensor) -> Tensor:
    """Convert to float16 if all values are in its range."""
    return values.half() if bool((values.abs() < LARGEST).all()) else values


def from_features(features: ViewFeatures) -> Record:
    """Convert features to tensors whose names hold request, grid and number of prefix tokens."""
    return {
        ":".join(map(str, (request.facet, request.layer, *(local.grid or (0, 0)), local.prefix))): half(local.values)
        for request, local in features.items()
    }


def to_features(record: Record, device: torch.device) -> ViewFeatures:
    """Convert tensors back to features, in float32 on a device; the inverse of `from_features`."""
    features: ViewFeatures = {}
    for name, values in record.items():
        facet, *numbers = name.split(":")
        layer, height, width, prefix = map(int, numbers)
        grid = (height, width) if height else None
        features[FeatureRequest(facet, layer)] = Features(values.to(device).float(), grid, prefix)
    return features
