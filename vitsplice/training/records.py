"""Records of a training's cache: what they depend on, their keys, and conversions to and from small dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor

from vitsplice.config import RunConfig, TrainingConfig
from vitsplice.contracts import MATCH, SPATIAL, ConditionName, FeatureRequest, Features, ImageName
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import ViewKey
from vitsplice.engine.targets import ViewFeatures, backbone_requests
from vitsplice.engine.terms import WeightedTerm, image_requests
from vitsplice.engine.views import View
from vitsplice.runs.checkpoints import features_sha256
from vitsplice.training.cache import Record, record_key

START: ConditionName = "start"


@dataclass(frozen=True)
class Recipe:
    """Everything that the records of the cache depend on, besides the image files and the version of vitsplice.

    Args:
        config: settings with ``training``, with resolved device and precision.
        backbones: backbones by their keys in the settings; the first computes the features for the correspondence and
            the conditions.
        terms: the weighted loss terms; empty: examples have no target features.
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
    def matching_backbone(self) -> SizedBackbone:
        """The backbone that matches the images."""
        return next(iter(self.backbones.values()))

    @property
    def matching_precision(self) -> str:
        """Precision of the backbone that matches the images."""
        return self._precision(next(iter(self.backbones)))

    @cached_property
    def has_guided_terms(self) -> bool:
        """True if a term requests the correspondence."""
        return any(MATCH in term.loss_term.requests for term in self.terms)

    @cached_property
    def has_start(self) -> bool:
        """True if the warm start is needed: as a condition, or as the target of a term."""
        return START in self.conditions or any(term.target[0] == START for term in self.terms)

    @cached_property
    def needs_match(self) -> bool:
        """True if the images of a pair are matched."""
        return self.has_guided_terms or self.has_start or bool(set(SPATIAL).intersection(self.conditions))

    @cached_property
    def applied_to_appearance(self) -> bool:
        """True if a term applies the generator to the appearance image."""
        return any(term.input[0] == "appearance" for term in self.terms)

    @cached_property
    def stored_conditions(self) -> tuple[ConditionName, ...]:
        """Conditions in the record of a pair: `conditions` except ``appearance``, plus ``start`` if `has_start`."""
        stored = [name for name in self.conditions if name != "appearance"]
        return tuple(dict.fromkeys([*stored, START] if self.has_start else stored))

    @cached_property
    def computed_conditions(self) -> tuple[ConditionName, ...]:
        """`stored_conditions`, plus ``start`` if `needs_match`.

        `vitsplice.engine.conditions.pair_condition` matches images only for a condition, not for guided terms alone.
        """
        return tuple(dict.fromkeys([*self.stored_conditions, START] if self.needs_match else self.stored_conditions))

    @cached_property
    def requests_by_view(self) -> dict[str, dict[ViewKey, tuple[FeatureRequest, ...]]]:
        """Requests for target features that need a pass of a backbone, by the key of the backbone and by view."""
        return {
            backbone: {
                view: needed
                for view, requests in image_requests(term for term in self.terms if term.backbone == backbone).items()
                if (needed := backbone_requests(requests))
            }
            for backbone in self.backbones
        }

    def pixels_key(self, sha256: str) -> str:
        """Return the key of the pixels of an image."""
        return record_key("pixels", image=sha256, side=self.training.side)

    def pair_key(self, structure: str, appearance: str) -> str:
        """Return the key of the record of a pair, given the SHA-256 of both files.

        The record has `stored_conditions`, whether the appearance image was matched as its mirror image, and with
        guided terms the vectors of the facet ``match``.
        """
        return record_key(
            "pair",
            images=[structure, appearance],
            side=self.training.side,
            match={"grid": self.config.match.grid} | (self.config.match.arguments if self.needs_match else {}),
            backbone=self._backbone_id(next(iter(self.backbones))),
            parts=sorted([*self.stored_conditions, *(["vectors"] if self.has_guided_terms else [])]),
        )

    def pixels_id(self, name: ImageName, structure: str, appearance: str, mirrored: bool) -> str:
        """Return text that identifies the pixels of an image of a pair, given the SHA-256 of both files."""
        if name == "start":
            return f"start {self.pair_key(structure, appearance)}"
        if name == "structure":
            return structure
        return f"{appearance} mirrored" if mirrored else appearance

    def features_key(self, backbone: str, pixels_id: str, view: View, requests: tuple[FeatureRequest, ...]) -> str:
        """Return the key of features of a view of an image, given the key of a backbone and `pixels_id`."""
        resize = self.backbones[backbone].resize
        return record_key(
            "features",
            image=pixels_id,
            side=self.training.side,
            view=asdict(view),
            backbone=self._backbone_id(backbone),
            resize=[type(resize).__name__, vars(resize)],
            requests=sorted(map(str, requests)),
        )

    def _backbone_id(self, backbone: str) -> list[str]:
        info = self.backbones[backbone].backbone.info
        return [info.name, info.sha256, features_sha256(info), self._precision(backbone)]

    def _precision(self, backbone: str) -> str:
        return self.config.backbones[backbone].precision or self.config.precision


def from_uint8(values: Tensor) -> Tensor:
    """Convert values in [0, 255] to float32 in [0, 1]."""
    return values.float() / 255


def half(values: Tensor) -> Tensor:
    """Convert values to float16 if all are in its range; otherwise return them unchanged."""
    rounded = values.half()
    return rounded if bool(rounded.isfinite().all()) else values


def from_features(features: ViewFeatures) -> Record:
    """Convert features to tensors (see `half`) whose names hold request, grid and number of prefix tokens."""
    return {
        ":".join(map(str, (request.facet, request.layer, *(each.grid or (0, 0)), each.prefix))): half(each.values)
        for request, each in features.items()
    }


def to_features(record: Record, device: torch.device) -> ViewFeatures:
    """Convert tensors of `from_features` back to features, in float32 on a device; rounding to float16 remains."""
    features: ViewFeatures = {}
    for name, values in record.items():
        facet, *numbers = name.split(":")
        layer, height, width, prefix = map(int, numbers)
        grid = (height, width) if height else None
        features[FeatureRequest(facet, layer)] = Features(values.to(device).float(), grid, prefix)
    return features
