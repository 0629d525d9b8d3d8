"""Contract of loss terms (`vitsplice.contracts.LossSpec`, `LossTerm`)."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar
from unittest import SkipTest

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.base import FrozenBackbone
from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import (
    INPUT,
    MASK,
    MATCH,
    POSITIONS,
    Backbone,
    FeatureRequest,
    Features,
    LossSpec,
    LossTerm,
    TermContext,
)
from vitsplice.engine.features import SizedBackbone, random_positions
from vitsplice.engine.terms import value_mistake
from vitsplice.errors import ConfigError
from vitsplice.options import complete
from vitsplice.plugins.build import build_part
from vitsplice.testing.contract import Contract, random_state_unchanged
from vitsplice.testing.inputs import random_images, tiny_cnn, tiny_vit

SIZE = (48, 64)
"""Height and width of the images."""

OTHER_SIZE = (80, 40)
"""Height and width of a target of another shape, which has another number of patches too."""


class RecordedFeatures(UserDict[FeatureRequest, Features]):
    """Features by request; ``used`` has the requests that were read."""

    def __init__(self, features: dict[FeatureRequest, Features]) -> None:
        super().__init__(features)
        self.used: set[FeatureRequest] = set()

    def __getitem__(self, request: FeatureRequest) -> Features:
        self.used.add(request)
        return super().__getitem__(request)


class LossContract(Contract[LossSpec]):
    """Checks of a loss term, on a small random ViT and a small random CNN."""

    kind: ClassVar[str] = "losses"

    def try_build(self) -> object:
        """Build the term for each backbone that it supports."""
        return list(self._terms())

    def test_spec_is_complete(self) -> None:
        """The spec states summary, input and target, and every option has a help text and a valid default."""
        super().test_spec_is_complete()
        spec = self.spec()
        assert spec.input in ("structure", "appearance"), f"input is {spec.input!r}"
        assert spec.target in ("structure", "appearance", "start"), f"target is {spec.target!r}"

    def test_some_backbone_is_supported(self) -> None:
        """The term can be built for a ViT or a CNN; for an unsupported backbone, building raises a ConfigError."""
        assert any(True for _ in self._terms()), "neither a ViT nor a CNN is supported"

    def test_value_is_a_finite_scalar(self) -> None:
        """The value is a finite float32 scalar."""
        for term, output, target in self._evaluations():
            check_value(term.function(output, target))

    def test_output_and_target_may_differ_in_size(self) -> None:
        """The value is also a finite scalar for images of two sizes, if just one of them is the appearance image."""
        images = {self.spec().input, self.spec().target}
        if "appearance" not in images or len(images) == 1:
            raise SkipTest("the output and the target have the same size")
        for term, output, target in self._evaluations(target_size=OTHER_SIZE):
            check_value(term.function(output, target))

    def test_target_may_have_a_mask(self) -> None:
        """The value is also a finite scalar with a mask of the appearance image, even if the term requests none."""
        if self.spec().target != "appearance":
            raise SkipTest("the target is not the appearance image, so it has no mask")
        for term, output, target in self._evaluations(masked=True):
            check_value(term.function(output, target))

    def test_gradients_reach_the_output(self) -> None:
        """The value is differentiable in the output image, with a finite gradient that is not zero."""
        for backbone, term in self._terms():
            image = random_images(1, *SIZE).requires_grad_()
            output = _features(backbone, tuple(term.requests), image)
            sharp = random_images(1, *SIZE, seed=1)
            gradients: list[Tensor | None] = []
            for target in (sharp, _coarse(sharp)):  # a term may be 0 for a target with more detail, or with less
                value = term.function(output, _features(backbone, tuple(term.requests), target))
                assert value.requires_grad, f"the term returns {value_mistake(value)}"
                gradients += torch.autograd.grad(value, image, allow_unused=True, retain_graph=True)
            reached = [gradient for gradient in gradients if gradient is not None]
            assert len(reached) == len(gradients), "no gradient reaches the output"
            assert all(gradient.isfinite().all() for gradient in reached), "the gradient has non-finite values"
            assert any(gradient.abs().sum() > 0 for gradient in reached), "the gradient is zero"

    def test_requests_are_exactly_the_features_used(self) -> None:
        """The term uses every feature that it requests, and no other."""
        for term, output, target in self._evaluations():
            recorded = RecordedFeatures(output), RecordedFeatures(target)
            term.function(*recorded)
            unused = set(term.requests) - (recorded[0].used | recorded[1].used)
            assert not unused, f"{', '.join(map(str, unused))} is requested but not used"

    def test_value_is_deterministic(self) -> None:
        """Equal features give equal values; random numbers come from `vitsplice.rng.stream`."""
        for term, output, target in self._evaluations():
            with random_state_unchanged("the term"):
                first, second = (term.function(output, target) for _ in range(2))
            assert torch.equal(first, second), "the value differs between two calls"

    def test_features_are_not_modified(self) -> None:
        """The term does not write into its features."""
        for term, output, target in self._evaluations():
            before = [{r: f.values.clone() for r, f in features.items()} for features in (output, target)]
            term.function(output, target)
            for copies, features in zip(before, (output, target), strict=True):
                assert all(torch.equal(copies[r], features[r].values) for r in copies), "the term modifies its features"

    def test_unknown_facet_is_rejected(self) -> None:
        """A facet that the backbone does not have is rejected with a ConfigError."""
        spec = self.spec()
        try:
            term = build_part(spec, TermContext(tiny_vit().info, "no-such-facet", None, complete(spec, {})))
        except ConfigError:
            return
        if any(request.facet == "no-such-facet" for request in term.requests):
            raise AssertionError("a facet that the backbone does not have is accepted")
        raise SkipTest("the term does not use the facet that the user selects")

    def _terms(self) -> Iterator[tuple[FrozenBackbone, LossTerm]]:
        spec = self.spec()
        for backbone in (tiny_vit(), tiny_cnn()):
            try:
                yield backbone, build_part(spec, TermContext(backbone.info, options=complete(spec, {})))
            except ConfigError:
                continue

    def _evaluations(
        self, target_size: tuple[int, int] = SIZE, *, masked: bool = False
    ) -> Iterator[tuple[LossTerm, dict[FeatureRequest, Features], dict[FeatureRequest, Features]]]:
        """Yield each term, and features of an output and of a target; ``masked``: the target has a mask."""
        for backbone, term in self._terms():
            requests = tuple(term.requests)
            output = _random_features(backbone, requests, SIZE, 0, masked=False)
            target = _random_features(backbone, requests, target_size, 1, masked=masked)
            yield term, _copied(output), _copied(target)


def check_value(value: Tensor) -> None:
    """Raise AssertionError unless the value of a term is a finite float32 scalar."""
    mistake = value_mistake(value, differentiable=False)
    assert not mistake, f"the term returns {mistake}"
    assert value.dtype == torch.float32, f"the value has dtype {value.dtype}"
    assert value.isfinite(), f"the value is {value.item()}"


@lru_cache(maxsize=8)
@torch.no_grad()
def _random_features(
    backbone: FrozenBackbone, requests: tuple[FeatureRequest, ...], size: tuple[int, int], seed: int, *, masked: bool
) -> dict[FeatureRequest, Features]:
    """Return the `_features` of a random image. They are cached; pass copies to a term, which might modify them."""
    return _features(backbone, requests, random_images(1, *size, seed=seed), masked=masked)


def _copied(features: dict[FeatureRequest, Features]) -> dict[FeatureRequest, Features]:
    return {request: replace(values, values=values.values.clone()) for request, values in features.items()}


def _features(
    backbone: Backbone, requests: tuple[FeatureRequest, ...], image: Tensor, *, masked: bool = False
) -> dict[FeatureRequest, Features]:
    """Features of an image; `INPUT` is a coarse copy of it, `MATCH` its pixels, averaged over a grid and normalised.

    If ``masked``, `MASK` is present and covers the left half of the image; otherwise it covers the entire image, if the
    term requests it.
    """
    provided = (*requests, *([MASK] if masked and MASK not in requests else []))
    of_image = [request for request in provided if request not in (INPUT, MATCH, POSITIONS)]
    sized = SizedBackbone(backbone, Resize())
    masks = {"image": _left_half(image)} if masked else {}
    features = sized.features({"image": image}, of_image, masks)["image"]
    features |= sized.features({"image": _coarse(image.detach())}, [INPUT])["image"]
    vectors = F.normalize(F.adaptive_avg_pool2d(image.detach(), (6, 8)).flatten(2).transpose(1, 2), dim=-1)
    engine = {MATCH: Features(vectors, (6, 8)), POSITIONS: random_positions()}
    return {request: (features | engine)[request] for request in provided}


def _left_half(image: Tensor) -> Tensor:
    mask = torch.zeros_like(image[:, :1])
    mask[..., : image.shape[-1] // 2] = 1
    return mask


def _coarse(image: Tensor) -> Tensor:
    """Average an image over blocks of 8 px, and interpolate it to its previous size."""
    return F.interpolate(F.avg_pool2d(image, 8), scale_factor=8.0, mode="bilinear", align_corners=False)
