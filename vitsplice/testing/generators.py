"""What every generator promises (`vitsplice.contracts.GeneratorSpec`)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vitsplice.contracts import GeneratorSpec
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.rng import private_rng
from vitsplice.testing.contract import Contract, images, whole

SIZES = ((40, 48), (37, 61))
"""One of them odd: images have any size."""


class GeneratorContract(Contract):
    """The checks of a generator, with its options at their defaults."""

    kind: ClassVar[str] = "generators"

    def spec(self) -> GeneratorSpec:
        """The generator; override it to test one that is not registered."""
        return catalogue().generators[self.name]

    def build(self, start: Tensor, seed: int = 0) -> nn.Module:
        """It, as a run builds it."""
        with private_rng(seed):
            return self.spec().build(start, complete(self.spec(), {})).train()

    def try_build(self) -> object:
        """Build it for a small image."""
        return self.build(images(1, *SIZES[0]))

    def test_its_facts_are_whole(self) -> None:
        """Summary and options are stated, and the defaults are allowed."""
        whole(self.spec())

    def test_from_image_to_image_of_the_same_size(self) -> None:
        """Any size gives an image of that size, float32 in [0, 1]."""
        for size in SIZES:
            start = images(1, *size)
            made = self.build(start)(start)
            assert made.shape == start.shape, f"{tuple(start.shape)} becomes {tuple(made.shape)}"
            assert made.dtype == torch.float32, f"the image is {made.dtype}"
            assert made.isfinite().all(), "the image is not finite"
            assert made.min() >= 0, f"values from {made.min():.3g}"
            assert made.max() <= 1, f"values to {made.max():.3g}"

    def test_what_it_is_fed_counts_unless_it_is_a_canvas(self) -> None:
        """A canvas gives its image whatever it is fed; any other generator takes images of other sizes too."""
        start, other = images(1, *SIZES[0]), images(1, *SIZES[1])
        generator = self.build(start)
        if self.spec().canvas:
            assert torch.equal(generator(other), generator(start)), "a canvas that looks at what it is fed"
        else:
            assert generator(other).shape == other.shape, "it takes only images of the size it was built for"
            flipped = generator(start.flip(-1))
            assert not torch.equal(flipped, generator(start)), "it ignores what it is fed; say canvas=True"

    def test_the_same_seed_gives_the_same_generator(self) -> None:
        """All chance in it comes from torch's random numbers at the time it is built."""
        start = images(1, *SIZES[0])
        first, second = (self.build(start)(start) for _ in range(2))
        assert torch.equal(first, second), "the same seed gives another image"

    def test_it_can_be_optimised(self) -> None:
        """A step of gradient descent changes the image, and every parameter that can change gets a gradient."""
        start = images(1, *SIZES[0])
        generator = self.build(start)
        made = generator(start)
        # Where the last layer begins at zero, those before it get their gradient from the second step on.
        optimiser = torch.optim.Adam([p for p in generator.parameters() if p.requires_grad], lr=0.05)
        for _ in range(2):
            optimiser.zero_grad(set_to_none=True)
            (generator(start) - images(1, *SIZES[0], seed=3)).square().mean().backward()
            without = [n for n, p in generator.named_parameters() if p.requires_grad and p.grad is None]
            assert not without, f"{without[0]} gets no gradient"
            optimiser.step()
        assert not torch.equal(generator(start), made), "nothing changes"

    def test_it_can_be_kept_and_restored(self) -> None:
        """Its state dict is all of it: a checkpoint gives the same image again."""
        start = images(1, *SIZES[0])
        generator = self.build(start)
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(0.01)
        made = generator(start)
        other = self.build(start, seed=1)
        other.load_state_dict(generator.state_dict())
        assert torch.equal(other(start), made), "the state dict does not hold all of it"

    def test_the_start_is_left_alone(self) -> None:
        """The image that it is built from, and fed, stays as it is."""
        start = images(1, *SIZES[0])
        before = start.clone()
        generator = self.build(start)
        generator(start)
        assert torch.equal(start, before), "it writes into the start"
