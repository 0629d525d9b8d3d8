"""Contract of generators (`vitsplice.contracts.GeneratorSpec`), and checks shared with conditional generators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from unittest import SkipTest

import torch
from torch import Tensor, nn

from vitsplice.contracts import GeneratorSpec
from vitsplice.options import complete
from vitsplice.plugins.build import build_part
from vitsplice.plugins.kinds import SpecT
from vitsplice.rng import private_rng
from vitsplice.testing.contract import Contract
from vitsplice.testing.inputs import random_images

SIZES = ((40, 48), (37, 61))
"""Heights and widths of the test images; images of odd sizes must work too."""


class ImageNetworkContract(Contract[SpecT]):
    """Checks of a network whose output is an image of the size of its first input.

    Attributes:
        batches: batch sizes for which the size of the output is checked.
    """

    batches: ClassVar[tuple[int, ...]] = (1,)

    def inputs(self, size: tuple[int, int] = SIZES[0], batch: int = 1) -> tuple[Any, ...]:
        """Return the arguments of the network: a batch of images of a size, and its other arguments."""
        raise NotImplementedError

    def build(self, image: Tensor, seed: int = 0) -> nn.Module:
        """Build the network for an image, in the mode (train or eval) in which outputs are computed."""
        raise NotImplementedError

    def output(self, generator: nn.Module, *inputs: Any) -> Tensor:
        """Compute an output as a run does, with random numbers from a private generator, newly seeded in each call."""
        with private_rng(0):
            output: Tensor = generator(*inputs)
        return output

    def try_build(self) -> object:
        """Build the network for a small image."""
        return self.build(self.inputs()[0])

    def test_output_is_an_image_of_the_same_size(self) -> None:
        """For images of any size, the output has that size, float32 in [0, 1]."""
        for inputs in (self.inputs(size, batch) for size in SIZES for batch in self.batches):
            assert_image(self.output(self.build(inputs[0]), *inputs), inputs[0].shape)

    def test_build_is_deterministic(self) -> None:
        """Equal seeds give equal outputs: random numbers are drawn from torch's default random number generator."""
        inputs = self.inputs()
        first, second = (self.output(self.build(inputs[0]), *inputs) for _ in range(2))
        assert torch.equal(first, second), "equal seeds give different outputs"

    def test_generator_can_be_optimised(self) -> None:
        """Gradient descent changes the output, and every trainable parameter gets a gradient."""
        inputs = self.inputs()
        generator = self.build(inputs[0])
        before = self.output(generator, *inputs)
        self.optimise(generator, inputs)
        assert not torch.equal(self.output(generator, *inputs), before), "two steps do not change the output"

    def test_state_dict_restores_output(self) -> None:
        """The state dict is the entire state: loaded into another generator, it gives the same output."""
        inputs = self.inputs()
        generator = self.build(inputs[0])
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(0.01)
        output = self.output(generator, *inputs)
        other = self.build(inputs[0], seed=1)
        other.load_state_dict(generator.state_dict())
        assert torch.equal(self.output(other, *inputs), output), "the output changes, so the state dict is incomplete"

    def test_input_is_not_modified(self) -> None:
        """No input is modified."""
        inputs = self.inputs()
        before = [tensor.clone() for tensor in _tensors(inputs)]
        self.output(self.build(inputs[0]), *inputs)
        after = list(_tensors(inputs))
        unchanged = len(after) == len(before) and all(map(torch.equal, after, before))
        assert unchanged, "the generator modifies an input"

    def optimise(self, generator: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Optimise for two steps towards a random image. Raises AssertionError if a parameter gets no gradient."""
        # Two steps: if the last layer is initialised with zeros, only the second changes the layers before it.
        batch, _, height, width = inputs[0].shape
        target = random_images(batch, height, width, seed=3)
        optimiser = torch.optim.Adam([p for p in generator.parameters() if p.requires_grad], lr=0.01)
        mode = generator.training
        generator.train()
        for _ in range(2):
            optimiser.zero_grad(set_to_none=True)
            loss = (self.output(generator, *inputs) - target).square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            unused = [name for name, p in generator.named_parameters() if p.requires_grad and p.grad is None]
            assert not unused, f"{unused[0]} gets no gradient"
            optimiser.step()
        generator.train(mode)


class GeneratorContract(ImageNetworkContract[GeneratorSpec]):
    """Checks of a generator, with all options at their defaults."""

    kind: ClassVar[str] = "generators"

    def inputs(self, size: tuple[int, int] = SIZES[0], batch: int = 1) -> tuple[Tensor]:
        """Return random images as the only argument."""
        return (random_images(batch, *size),)

    def build(self, image: Tensor, seed: int = 0) -> nn.Module:
        """Build the generator as a run that starts from the image does."""
        with private_rng(seed):
            return build_part(self.spec(), image, complete(self.spec(), {})).train()

    def test_output_depends_on_input_unless_canvas(self) -> None:
        """The output of a canvas ignores the input; any other generator uses its input, and accepts one of any size."""
        (start,), (other,) = self.inputs(), self.inputs(SIZES[1])
        generator = self.build(start)
        if self.spec().canvas:
            unchanged = torch.equal(self.output(generator, other), self.output(generator, start))
            assert unchanged, "canvas=True, but the output depends on the input"
        else:
            assert_image(self.output(generator, other), other.shape)
            flipped = self.output(generator, start.flip(-1))
            assert not torch.equal(flipped, self.output(generator, start)), (
                "the output ignores the input: set canvas=True"
            )

    def test_progress_can_be_set(self) -> None:
        """``set_progress``, if there is one, accepts fractions from 0 to 1, at which the output is an image."""
        (start,) = self.inputs()
        generator = self.build(start)
        set_progress = getattr(generator, "set_progress", None)
        if not callable(set_progress):
            raise SkipTest("the generator has no method set_progress")
        for fraction in (0.0, 0.5, 1.0):
            set_progress(fraction)
            assert_image(self.output(generator, start), start.shape)


def assert_image(output: Tensor, shape: tuple[int, ...]) -> None:
    """Raise AssertionError unless an output is float32 in [0, 1], of the shape of the input."""
    assert output.shape == shape, f"an input of shape {tuple(shape)} gives {tuple(output.shape)}"
    assert output.dtype == torch.float32, f"the output has dtype {output.dtype}"
    assert output.isfinite().all(), "the output has non-finite values"
    assert output.min() >= 0, f"the minimum of the output is {output.min():.3g}, below 0"
    assert output.max() <= 1, f"the maximum of the output is {output.max():.3g}, above 1"


def _tensors(inputs: tuple[Any, ...]) -> Iterator[Tensor]:
    """Yield the tensors of arguments, including those in mappings."""
    for value in inputs:
        if isinstance(value, Mapping):
            yield from value.values()
        else:
            yield value
