"""Contract of metrics (`vitsplice.contracts.MetricSpec`, `Metric`)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import ClassVar
from unittest import SkipTest

import torch
from torch import Tensor

from vitsplice.contracts import Backbone, BackboneInfo, Case, Metric, MetricContext, MetricSpec
from vitsplice.engine.backbones import load_backbone
from vitsplice.errors import UnknownName, WeightsUnavailable
from vitsplice.plugins import catalogue
from vitsplice.plugins.build import build_part
from vitsplice.testing.contract import Contract, random_state_unchanged
from vitsplice.testing.inputs import random_images, tiny_vit
from vitsplice.text import type_with_article

SIZES = (64, 80), (72, 64), (50, 66)
"""Height and width of structure, appearance and output image: all different."""

INPUTS = ("structure", "appearance", "output", "structure_mask", "appearance_mask")
"""Names of the tensors of a case."""


class MetricContract(Contract[MetricSpec]):
    """Checks of a metric; a small random ViT stands for the backbone that a user would select.

    Attributes:
        cases: number of cases for a metric over sets.
    """

    kind: ClassVar[str] = "metrics"
    cases: ClassVar[int] = 50

    def build(self) -> Metric:
        """Build the metric as an evaluation does. Skips the check if a network or its weights are unavailable."""
        return self._build()[0]

    def try_build(self) -> object:
        """Build the metric."""
        return self.build()

    def test_spec_is_complete(self) -> None:
        """The spec states its summary, and valid values of better, over, against and max_pairs."""
        super().test_spec_is_complete()
        spec = self.spec()
        assert spec.better in ("lower", "higher"), f"better is {spec.better!r}"
        assert spec.over in ("pair", "set"), f"over is {spec.over!r}"
        assert spec.against in ("structure", "appearance", "both", "set"), f"against is {spec.against!r}"
        assert spec.max_pairs > 0, f"max_pairs is {spec.max_pairs}"

    def test_parameters_are_plain_data(self) -> None:
        """The parameters can be written as JSON without NaN, and every name in optimised_by is that of a loss term."""
        metric = self.build()
        json.dumps(dict(metric.parameters), allow_nan=False)
        unknown = [name for name in metric.optimised_by if name not in catalogue().losses]
        assert not unknown, f"optimised_by names {unknown[0]!r}, which is no loss term"

    def test_networks_are_stated(self) -> None:
        """Every backbone that the metric loads is in networks.

        Values of outputs that were optimised with such a backbone are then marked (metric leakage).
        """
        metric, loaded = self._build()
        self._value(metric, self._cases())
        missing = [info.name for info in loaded if info not in metric.networks]
        assert not missing, f"the metric loads {missing[0]}, which is not in networks"

    def test_value_is_finite(self) -> None:
        """The value is finite for images of three different sizes."""
        value = self._value(self.build(), self._cases())
        assert math.isfinite(value), f"the value is {value}"

    def test_masks_are_optional(self) -> None:
        """Without masks the metric returns a number too; NaN if it requires masks."""
        self._value(self.build(), self._cases(masks=False))

    def test_value_is_deterministic(self) -> None:
        """Equal images give equal values, and torch's global random state is unchanged."""
        metric = self.build()
        with random_state_unchanged("the metric"):
            first, second = (self._value(metric, self._cases()) for _ in range(2))
        assert first == second, f"the same images give {first} and then {second}"

    def test_inputs_are_not_modified(self) -> None:
        """The metric does not write into images and masks, which other metrics use after it."""
        cases = self._cases()
        before = [{name: getattr(case, name).clone() for name in INPUTS} for case in cases]
        self._value(self.build(), cases)
        for case, copies in zip(cases, before, strict=True):
            modified = [name for name in INPUTS if not torch.equal(getattr(case, name), copies[name])]
            assert not modified, f"the metric modifies the {modified[0]}"

    def test_identical_output_is_best(self) -> None:
        """An output identical to the image that it is compared with is at least as good as a different output."""
        metric = self.build()
        identical = self._value(metric, self._cases_of_one_image(lambda image: image))
        other = self._value(metric, self._cases_of_one_image(lambda image: image.flip(-1, -2) ** 3))
        advantage_of_other = other - identical if self.spec().better == "higher" else identical - other
        assert advantage_of_other <= 1e-5 + 1e-3 * abs(identical), (
            f"an identical output has the value {identical:.4g}, a different one {other:.4g}"
        )

    def _build(self) -> tuple[Metric, list[BackboneInfo]]:
        """Return the metric, and a list of the backbones that it has loaded, which grows when it loads more later."""
        spec, loaded = self.spec(), list[BackboneInfo]()

        @cache
        def load(name: str) -> Backbone:
            backbone = tiny_vit() if name == "tiny-vit" else load_backbone(name)
            loaded.append(backbone.info)
            return backbone

        with _skipped_if_unavailable():
            return build_part(spec, MetricContext(load, "tiny-vit")), loaded

    @torch.no_grad()
    def _value(self, metric: Metric, cases: list[Case]) -> float:
        with _skipped_if_unavailable():
            value = metric.value(cases[0] if self.spec().over == "pair" else iter(cases))
        assert isinstance(value, int | float), (
            f"the value is {type_with_article(value)}; a metric returns an int or a float (.item() converts a scalar)"
        )
        return value

    def _cases(self, *, masks: bool = True) -> list[Case]:
        return [
            _case(seed, *(random_images(1, *size, seed=3 * seed + k) for k, size in enumerate(SIZES)), masks=masks)
            for seed in range(self._case_count())
        ]

    def _cases_of_one_image(self, output: Callable[[Tensor], Tensor]) -> list[Case]:
        """Return cases whose structure and appearance are the same image, and whose output is computed from it."""
        images = [random_images(1, *SIZES[0], seed=seed) for seed in range(self._case_count())]
        return [_case(seed, image, image, output(image)) for seed, image in enumerate(images)]

    def _case_count(self) -> int:
        return 1 if self.spec().over == "pair" else self.cases


@contextmanager
def _skipped_if_unavailable() -> Iterator[None]:
    """Skip the check if the block requires a network that is not registered, or whose weights are unavailable."""
    try:
        yield
    except (UnknownName, WeightsUnavailable) as error:
        raise SkipTest(str(error)) from error


def _case(seed: int, structure: Tensor, appearance: Tensor, output: Tensor, *, masks: bool = True) -> Case:
    structure_mask, appearance_mask = (_bright_half(structure), _bright_half(appearance)) if masks else (None, None)
    return Case(f"c{seed}", structure, appearance, output, structure_mask, appearance_mask)


def _bright_half(image: Tensor) -> Tensor:
    """Mask ``(1, 1, H, W)`` of the brighter half of the pixels."""
    grey = image.mean(1, keepdim=True)
    return (grey > grey.median()).float()
