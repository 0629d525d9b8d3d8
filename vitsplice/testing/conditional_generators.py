"""Contract of conditional generators (`vitsplice.contracts.ConditionalGeneratorSpec`)."""

from __future__ import annotations

from typing import ClassVar
from unittest import SkipTest

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.contracts import Condition, ConditionalGeneratorSpec, ConditionName
from vitsplice.options import complete
from vitsplice.plugins.build import build_part
from vitsplice.rng import private_rng, stream
from vitsplice.testing.contract import assert_close
from vitsplice.testing.generators import SIZES, ImageNetworkContract
from vitsplice.testing.inputs import random_images

CHANNELS: dict[ConditionName, int] = {"cls": 24, "appearance": 3, "start": 3, "warped": 20}
"""Number of channels of each condition in the checks."""

GRID = (5, 6)
"""Grid of the warped features."""

EDGES = {"below": (2, 0), "above": (2, -1), "to the right of": (3, 0), "to the left of": (3, -1)}
"""Rows and columns that the check of ``reach`` changes: axis of ``(B, 3, H, W)``, and index on this axis.

Keys: position of the compared part of the output relative to the changed row or column."""

BEYOND = 63
"""Number of output rows or columns beyond ``reach`` that the check of ``reach`` compares before and after a change."""


class ConditionalGeneratorContract(ImageNetworkContract[ConditionalGeneratorSpec]):
    """Checks of a conditional generator, with all options at their defaults.

    The generator gets the conditions that its spec requests, and no others.
    """

    kind: ClassVar[str] = "conditional_generators"
    batches: ClassVar[tuple[int, ...]] = (1, 3)

    def inputs(self, size: tuple[int, int] = SIZES[0], batch: int = 1, seed: int = 0) -> tuple[Tensor, Condition]:
        """Return random structure images and conditions."""
        images = random_images(batch, *size, seed=seed)
        return images, {name: _random_condition(name, size, batch, seed) for name in self._conditions()}

    def build(self, image: Tensor, seed: int = 0) -> nn.Module:
        """Build the generator, in evaluation mode."""
        channels = {name: CHANNELS[name] for name in self._conditions()}
        with private_rng(seed):
            return build_part(self.spec(), channels, complete(self.spec(), {})).eval()

    def test_spec_is_complete(self) -> None:
        """The spec states its summary and its conditions, and every option has a help text and a valid default."""
        super().test_spec_is_complete()
        conditions = self.spec().conditions
        assert conditions, "no condition is requested: a generator that sees only its input is a GeneratorSpec"
        assert len(set(conditions)) == len(conditions), "a condition is requested twice"

    def test_output_depends_on_structure_image(self) -> None:
        """After two steps of optimisation the output depends on the structure image."""
        generator, (images, condition) = self._optimised()
        output, flipped = (self.output(generator, pixels, condition) for pixels in (images, images.flip(-1)))
        assert not torch.equal(flipped, output), "the output ignores the structure image"

    def test_output_depends_on_every_condition(self) -> None:
        """After two steps of optimisation the output depends on every condition that the spec requests."""
        generator, (images, condition) = self._optimised()
        output = self.output(generator, images, condition)
        _, other = self.inputs(seed=1)
        for name in condition:
            changed = self.output(generator, images, {**condition, name: other[name]})
            assert not torch.equal(changed, output), f"the output ignores the condition '{name}'"

    def test_images_of_a_batch_are_independent(self) -> None:
        """In evaluation mode, a batch gives the same outputs as its images one by one."""
        generator, _ = self._optimised()
        images, condition = self.inputs(batch=3)
        output = self.output(generator, images, condition)
        for k in range(3):
            index = slice(k, k + 1)
            alone = self.output(generator, images[index], {name: values[index] for name, values in condition.items()})
            assert_close(alone, output[index], f"image {k} of a batch and the same image alone")

    def test_reach_bounds_the_effect_of_a_pixel(self) -> None:
        """A pixel of the structure image or of the condition ``start`` has no effect further away than ``reach``."""
        reach = getattr(self.build(self.inputs()[0]), "reach", None)
        if reach is None:
            raise SkipTest("the generator states no reach")
        generator, _ = self._optimised()
        for direction, (axis, edge) in EDGES.items():
            side = reach + 1 + BEYOND
            images, condition = self.inputs((side, SIZES[0][1]) if axis == 2 else (SIZES[0][0], side))
            to_change = [images, *(condition[name] for name in condition if name == "start")]
            first = reach + 1 if edge == 0 else 0
            with torch.no_grad():
                before = self.output(generator, images, condition).narrow(axis, first, BEYOND)
                for values in to_change:
                    values.select(axis, edge).fill_(1)
                after = self.output(generator, images, condition).narrow(axis, first, BEYOND)
            assert_close(after, before, f"output more than {reach} px {direction} a change", 1e-5)

    def _conditions(self) -> tuple[ConditionName, ...]:
        """Return the names of the requested conditions. Raises AssertionError if one is unknown."""
        unknown = [name for name in self.spec().conditions if name not in CHANNELS]
        assert not unknown, f"there is no condition {unknown[0]!r}; there are {', '.join(CHANNELS)}"
        return self.spec().conditions

    def _optimised(self) -> tuple[nn.Module, tuple[Tensor, Condition]]:
        """Return a generator after two steps of optimisation, in evaluation mode, and the inputs of these steps."""
        inputs = self.inputs()
        generator = self.build(inputs[0])
        self.optimise(generator, inputs)
        return generator, inputs


def _random_condition(name: ConditionName, size: tuple[int, int], batch: int, seed: int) -> Tensor:
    """Return a random condition as `ConditionName` describes it; ``warped`` has the grid `GRID` at any size."""
    rng = stream(seed, "testing", name)
    if name == "cls":
        return F.normalize(torch.randn(batch, CHANNELS[name], generator=rng), dim=-1)
    if name == "warped":
        return torch.randn(batch, CHANNELS[name], *GRID, generator=rng)
    return random_images(batch, *size, seed=seed + (10 if name == "start" else 20))
