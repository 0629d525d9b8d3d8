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
        output = generator(images, condition)
        assert not torch.equal(generator(images.flip(-1), condition), output), "the output ignores the structure image"

    def test_output_depends_on_every_condition(self) -> None:
        """After two steps of optimisation the output depends on every condition that the spec requests."""
        generator, (images, condition) = self._optimised()
        output = generator(images, condition)
        _, other = self.inputs(seed=1)
        for name in condition:
            changed = generator(images, {**condition, name: other[name]})
            assert not torch.equal(changed, output), f"the output ignores the condition '{name}'"

    def test_images_of_a_batch_are_independent(self) -> None:
        """In evaluation mode, a batch gives the same outputs as its images one by one."""
        generator, _ = self._optimised()
        images, condition = self.inputs(batch=3)
        output = generator(images, condition)
        for k in range(3):
            index = slice(k, k + 1)
            alone = generator(images[index], {name: values[index] for name, values in condition.items()})
            assert_close(alone, output[index], f"image {k} of a batch and the same image alone")

    def test_reach_bounds_the_effect_of_a_pixel(self) -> None:
        """Input pixels further away than the generator's ``reach`` do not affect an output pixel."""
        reach = getattr(self.build(self.inputs()[0]), "reach", None)
        if reach is None:
            raise SkipTest("the generator states no reach")
        generator, _ = self._optimised()
        images, condition = self.inputs((SIZES[0][0], reach + 64))
        output = generator(images, condition)
        for values in (images, *(condition[name] for name in condition if name in ("start", "appearance"))):
            values[..., 0] = 1 - values[..., 0]
        changed = generator(images, condition)
        assert_close(changed[..., reach + 1 :], output[..., reach + 1 :], f"output {reach + 1} pixels from a change")

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
    """Return a random condition of the shape and range that `ConditionName` states."""
    rng = stream(seed, "testing", name)
    if name == "cls":
        return F.normalize(torch.randn(batch, CHANNELS[name], generator=rng), dim=-1)
    if name == "warped":
        return torch.randn(batch, CHANNELS[name], *GRID, generator=rng)
    return random_images(batch, *size, seed=seed + (10 if name == "start" else 20))
