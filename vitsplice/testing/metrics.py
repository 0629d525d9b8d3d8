"""What every metric promises (`vitsplice.contracts.MetricSpec`, `Metric`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar
from unittest import SkipTest

import torch
from torch import Tensor

from vitsplice.contracts import Backbone, BackboneInfo, Case, Metric, MetricContext, MetricSpec
from vitsplice.errors import UnknownName, WeightsUnavailable
from vitsplice.plugins import catalogue
from vitsplice.testing.contract import Contract, images, random_state_untouched
from vitsplice.testing.tiny import tiny_vit

STRUCTURE, APPEARANCE, OUTPUT = (64, 80), (72, 64), (50, 66)
"""Height and width of the images of a case: no two alike."""

SHOWN = ("structure", "appearance", "output", "structure_mask", "appearance_mask")
"""What a case shows a metric."""


class MetricContract(Contract):
    """The checks of a metric; the backbone that a user may choose is a small random ViT.

    Attributes:
        cases: that a metric over sets is given.
    """

    kind: ClassVar[str] = "metrics"
    cases: ClassVar[int] = 50

    def spec(self) -> MetricSpec:
        """The metric; override it to test one that is not registered."""
        return catalogue().metrics[self.name]

    def build(self) -> Metric:
        """It, as an evaluation builds it. Skips where its network is not on this machine."""
        return self._built()[0]

    def try_build(self) -> object:
        """Build it."""
        return self.build()

    def test_its_facts_are_whole(self) -> None:
        """Summary, which end is better, and what it is over and against are stated."""
        spec = self.spec()
        assert spec.summary.strip(), "no summary"
        assert spec.better in ("lower", "higher"), f"better is {spec.better!r}"
        assert spec.over in ("pair", "set"), f"over is {spec.over!r}"
        assert spec.against in ("structure", "appearance", "set"), f"against is {spec.against!r}"
        assert spec.max_pairs > 0, f"max_pairs is {spec.max_pairs}"

    def test_what_it_depends_on_is_plain_data(self) -> None:
        """Facts can be written as JSON; loss terms that are optimised_by are names."""
        metric = self.build()
        json.dumps(dict(metric.parameters))
        assert all(isinstance(name, str) for name in metric.optimised_by), f"optimised_by is {metric.optimised_by!r}"

    def test_the_networks_that_it_looks_with_are_stated(self) -> None:
        """Every backbone that it loads is among its networks, so that methods that optimised it are marked."""
        metric, loaded = self._built()
        self._value(metric)
        silent = [info.name for info in loaded if info not in metric.networks]
        assert not silent, f"it loads {silent[0]} and does not say so"

    def test_a_finite_number(self) -> None:
        """Images of any three sizes have a finite value."""
        value = self._value(self.build())
        assert math.isfinite(value), f"the value is {value}"

    def test_no_figure_is_not_a_number(self) -> None:
        """Pairs without masks have a value, or NaN where it needs them."""
        self._value(self.build(), masks=False)

    def test_the_same_again(self) -> None:
        """The same images have the same value, and no random numbers of torch's are drawn."""
        metric = self.build()
        with random_state_untouched("the metric"):
            first, second = (self._value(metric) for _ in range(2))
        assert first == second, f"the same images have {first} and then {second}"

    def test_images_are_left_alone(self) -> None:
        """It does not write into the images and masks, which other metrics and methods are shown after it."""
        shown = list(self._shown(masks=True))
        before = [{name: getattr(one, name).clone() for name in SHOWN} for one in shown]
        self._value(self.build(), shown=shown)
        for one, was in zip(shown, before, strict=True):
            changed = [name for name in SHOWN if not torch.equal(getattr(one, name), was[name])]
            assert not changed, f"it writes into the {changed[0]}"

    def test_nothing_is_better_than_the_image_itself(self) -> None:
        """An output that is the image it is compared with is no worse than another."""
        metric = self.build()
        itself, other = (self._value(metric, shown=self._of_one_size(turned)) for turned in (False, True))
        better = other - itself if self.spec().better == "higher" else itself - other
        assert better <= 1e-5 + 1e-3 * abs(itself), f"the image itself has {itself:.4g}, and another {other:.4g}"

    def _built(self) -> tuple[Metric, list[BackboneInfo]]:
        loaded: list[BackboneInfo] = []

        def load(name: str) -> Backbone:
            found = tiny_vit() if name == "tiny-vit" else catalogue().backbones[name].build(None)
            loaded.append(found.info)
            return found

        try:
            return self.spec().build(MetricContext(load, "tiny-vit")), loaded
        except (UnknownName, WeightsUnavailable) as error:
            raise SkipTest(str(error)) from error

    @torch.no_grad()
    def _value(self, metric: Metric, *, masks: bool = True, shown: list[Case] | None = None) -> float:
        cases = self._shown(masks=masks) if shown is None else iter(shown)
        found = metric.value(next(cases) if self.spec().over == "pair" else cases)
        assert isinstance(found, int | float), f"the value is a {type(found).__name__}, not a number"
        return found

    def _shown(self, *, masks: bool) -> Iterator[Case]:
        for seed in range(self._number()):
            structure, appearance, output = (
                images(1, *size, seed=3 * seed + k) for k, size in enumerate((STRUCTURE, APPEARANCE, OUTPUT))
            )
            yield _with_masks(Case(f"c{seed}", structure, appearance, output), masks)

    def _of_one_size(self, turned: bool) -> list[Case]:
        """Cases whose output is both images, or that turned by half and darker."""
        made = []
        for seed in range(self._number()):
            image = images(1, *STRUCTURE, seed=seed)
            made.append(_with_masks(Case(f"c{seed}", image, image, image.flip(-1, -2) ** 3 if turned else image), True))
        return made

    def _number(self) -> int:
        return 1 if self.spec().over == "pair" else self.cases


def _with_masks(case: Case, wanted: bool) -> Case:
    if not wanted:
        return case
    return replace(case, structure_mask=_light(case.structure), appearance_mask=_light(case.appearance))


def _light(image: Tensor) -> Tensor:
    """Where an image is light, ``(1, 1, H, W)``."""
    grey = image.mean(1, keepdim=True)
    return (grey > grey.median()).float()
