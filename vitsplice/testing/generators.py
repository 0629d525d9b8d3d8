"""Contract of generators (`vitsplice.contracts.GeneratorSpec`)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vitsplice.contracts import GeneratorSpec
from vitsplice.options import complete
from vitsplice.rng import private_rng
from vitsplice.testing.contract import Contract
from vitsplice.testing.inputs import random_images

SIZES = ((40, 48), (37, 61))
"""Heights and widths of the test images; images of odd sizes must work too."""


class GeneratorContract(Contract[GeneratorSpec]):
    """Checks of a generator, with all options at their defaults."""

    kind: ClassVar[str] = "generators"

    def build(self, start: Tensor, seed: int = 0) -> nn.Module:
        """Build the generator as a run does."""
        with private_rng(seed):
            return self.spec().build(start, complete(self.spec(), {})).train()

    def try_build(self) -> object:
        """Build the generator for a small image."""
        return self.build(_start())

    def test_output_is_an_image_of_the_same_size(self) -> None:
        """For a start image of any size, the output has that size, float32 in [0, 1]."""
        for size in SIZES:
            start = random_images(1, *size)
            output = self.build(start)(start)
            assert output.shape == start.shape, f"an input of shape {tuple(start.shape)} gives {tuple(output.shape)}"
            assert output.dtype == torch.float32, f"the output has dtype {output.dtype}"
            assert output.isfinite().all(), "the output has non-finite values"
            assert output.min() >= 0, f"the minimum of the output is {output.min():.3g}, below 0"
            assert output.max() <= 1, f"the maximum of the output is {output.max():.3g}, above 1"

    def test_output_depends_on_input_unless_canvas(self) -> None:
        """The output of a canvas does not depend on the input; any other generator uses it, and accepts any size."""
        start, other = _start(), random_images(1, *SIZES[1])
        generator = self.build(start)
        if self.spec().canvas:
            assert torch.equal(generator(other), generator(start)), "canvas=True, but the output depends on the input"
        else:
            shape = tuple(generator(other).shape)
            assert shape == other.shape, f"an input of shape {tuple(other.shape)} gives {shape}"
            flipped = generator(start.flip(-1))
            assert not torch.equal(flipped, generator(start)), "the output ignores the input: set canvas=True"

    def test_build_is_deterministic(self) -> None:
        """Equal seeds give equal generators: random numbers come from torch's default generator."""
        start = _start()
        first, second = (self.build(start)(start) for _ in range(2))
        assert torch.equal(first, second), "equal seeds give different outputs"

    def test_generator_can_be_optimised(self) -> None:
        """Gradient descent changes the output, and every trainable parameter gets a gradient."""
        start = _start()
        generator = self.build(start)
        before = generator(start)
        # If the last layer is initialised with zeros, the layers before it get a gradient from the second step on.
        optimiser = torch.optim.Adam([p for p in generator.parameters() if p.requires_grad], lr=0.05)
        for _ in range(2):
            optimiser.zero_grad(set_to_none=True)
            (generator(start) - random_images(1, *SIZES[0], seed=3)).square().mean().backward()
            unused = [name for name, p in generator.named_parameters() if p.requires_grad and p.grad is None]
            assert not unused, f"{unused[0]} gets no gradient"
            optimiser.step()
        assert not torch.equal(generator(start), before), "two steps do not change the output"

    def test_state_dict_restores_output(self) -> None:
        """The state dict is the entire state: loaded into another generator, it gives the same output."""
        start = _start()
        generator = self.build(start)
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(0.01)
        output = generator(start)
        other = self.build(start, seed=1)
        other.load_state_dict(generator.state_dict())
        assert torch.equal(other(start), output), "the output changes, so the state dict is incomplete"

    def test_input_is_not_modified(self) -> None:
        """Neither the start image nor the input is modified."""
        start = _start()
        before = start.clone()
        self.build(start)(start)
        assert torch.equal(start, before), "the generator modifies its start image or its input"


def _start() -> Tensor:
    return random_images(1, *SIZES[0])
