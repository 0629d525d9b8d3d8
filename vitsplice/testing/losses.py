"""What every loss term promises (`vitsplice.contracts.LossSpec`, `LossTerm`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar
from unittest import SkipTest

import torch
from torch import Tensor

from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import Backbone, FeatureRequest, Features, LossSpec, LossTerm, TermContext
from vitsplice.engine.features import extract
from vitsplice.engine.terms import value_mistake
from vitsplice.errors import ConfigError
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.testing.contract import Contract, images, random_state_untouched, whole
from vitsplice.testing.tiny import tiny_cnn, tiny_vit

Found = Mapping[FeatureRequest, Features]


class Recorded(dict[FeatureRequest, Features]):
    """Features that remember which of them were asked for."""

    def __init__(self, features: Found) -> None:
        super().__init__(features)
        self.asked: set[FeatureRequest] = set()

    def __getitem__(self, request: FeatureRequest) -> Features:
        self.asked.add(request)
        return super().__getitem__(request)


class LossContract(Contract):
    """The checks of a loss term, on a small random ViT and a small random CNN."""

    kind: ClassVar[str] = "losses"

    def spec(self) -> LossSpec:
        """The term; override it to test one that is not registered."""
        return catalogue().losses[self.name]

    def try_build(self) -> object:
        """Build it for each backbone that it fits."""
        return list(self._built())

    def test_its_facts_are_whole(self) -> None:
        """Summary, images and options are stated, and the defaults are allowed."""
        spec = self.spec()
        whole(spec)
        assert spec.input in ("structure", "appearance"), f"input is {spec.input!r}"
        assert spec.target in ("structure", "appearance", "start"), f"target is {spec.target!r}"

    def test_it_fits_a_kind_of_backbone(self) -> None:
        """It can be built for a ViT or a CNN; where it cannot, a ConfigError says why."""
        assert any(True for _ in self._built()), "it fits neither a ViT nor a CNN"

    def test_a_finite_scalar(self) -> None:
        """The value is one finite float32 number."""
        for term, output, target in self._played():
            value = term.function(output, target)
            mistake = value_mistake(value, differentiable=False)
            assert not mistake, f"it returns {mistake}"
            assert value.dtype == torch.float32, f"the value is {value.dtype}"
            assert value.isfinite(), f"the value is {value.item()}"

    def test_gradients_reach_the_output_and_not_the_target(self) -> None:
        """The value can be differentiated in the output's features; the target's are left alone."""
        for backbone, term in self._built():
            shown = images(1, 48, 64).requires_grad_()
            output = self._features(backbone, term, shown)
            target = self._features(backbone, term, images(1, 48, 64, seed=1))
            value = term.function(output, target)
            assert value.requires_grad, f"it returns {value_mistake(value)}"
            (gradient,) = torch.autograd.grad(value, shown, allow_unused=True)
            assert gradient is not None, "no gradient reaches the output"
            assert gradient.isfinite().all(), "the gradient is not finite"
            assert gradient.abs().sum() > 0, "the gradient is zero"

    def test_only_what_it_asked_for(self) -> None:
        """It uses the features that it requests, and requests no others."""
        for term, output, target in self._played():
            seen = Recorded(output), Recorded(target)
            term.function(*seen)
            unused = set(term.requests) - (seen[0].asked | seen[1].asked)
            assert not unused, f"it asks for {', '.join(map(str, unused))} and does not use it"

    def test_the_same_twice_without_random_numbers(self) -> None:
        """The same features give the same value; random numbers are its own (`vitsplice.rng.stream`)."""
        for term, output, target in self._played():
            with random_state_untouched("it"):
                first, second = (term.function(output, target) for _ in range(2))
            assert torch.equal(first, second), "the value differs from call to call"

    def test_it_changes_nothing(self) -> None:
        """The features stay as they are."""
        for term, output, target in self._played():
            before = [{r: f.values.clone() for r, f in found.items()} for found in (output, target)]
            term.function(output, target)
            for kept, found in zip(before, (output, target), strict=True):
                assert all(torch.equal(kept[r], found[r].values) for r in kept), "it writes into its features"

    def test_unknown_facets_are_refused(self) -> None:
        """A facet that the backbone has not is refused with a ConfigError."""
        spec = self.spec()
        try:
            term = spec.build(TermContext(tiny_vit().info, "no-such-facet", None, complete(spec, {})))
        except ConfigError:
            return
        if any(request.facet == "no-such-facet" for request in term.requests):
            raise AssertionError("it takes a facet that the backbone has not")
        raise SkipTest("it does not go by the user's choice of facet")

    def _built(self) -> Iterator[tuple[Backbone, LossTerm]]:
        spec = self.spec()
        for backbone in (tiny_vit(), tiny_cnn()):
            try:
                yield backbone, spec.build(TermContext(backbone.info, options=complete(spec, {})))
            except ConfigError:
                continue

    def _played(self) -> Iterator[tuple[LossTerm, Found, Found]]:
        for backbone, term in self._built():
            with torch.no_grad():
                output, target = (self._features(backbone, term, images(1, 48, 64, seed=seed)) for seed in (0, 1))
            yield term, output, target

    def _features(self, backbone: Backbone, term: LossTerm, shown: Tensor) -> dict[FeatureRequest, Features]:
        return extract(backbone, Resize(), {"it": shown}, term.requests)["it"]
