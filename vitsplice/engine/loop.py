"""The optimisation of a generator by a weighted sum of loss terms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from vitsplice.config import OptimiserConfig, RunConfig
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import RunImages, ViewKey
from vitsplice.engine.state import load_state, state_of
from vitsplice.engine.targets import MemoryBank, Targets
from vitsplice.engine.terms import WeightedTerm
from vitsplice.engine.tiles import draw_tiles
from vitsplice.engine.values import PairOutputs, Step, add_gradients, check_gradients, pair_values, summed
from vitsplice.engine.views import View, entire
from vitsplice.errors import NonFiniteLoss, PartRejected
from vitsplice.matching import MatchVectors
from vitsplice.rng import private_rng, seeded
from vitsplice.text import type_with_article

ENTIRE_STRUCTURE: ViewKey = ("structure", "entire")


@dataclass(frozen=True)
class Problem:
    """Everything that an optimisation needs, on one device.

    Args:
        config: the settings.
        images: the structure image, the appearance image and the start.
        backbones: backbones with frozen parameters, by their keys in the settings.
        vectors: vectors of the correspondence of structure and appearance image (facet ``match``); None if no term
            requests it.
        tile: maximum side in pixels, without overlap, of the tiles on which losses are computed; None: losses are
            computed on views.
        generator: the module that is optimised.
        canvas: whether the generator holds the output image itself (`vitsplice.contracts.GeneratorSpec`).
        terms: the weighted loss terms.
        generator_input: the image of which the generator makes the output image; as large as the structure image.
    """

    config: RunConfig
    images: RunImages
    backbones: Mapping[str, SizedBackbone]
    vectors: MatchVectors | None
    tile: int | None
    generator: nn.Module
    canvas: bool
    terms: tuple[WeightedTerm, ...]
    generator_input: Tensor


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """Return the learning rate at a step (from 0) of ``steps``; ``cosine`` decays from ``lr`` towards 0."""
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
    return config.lr


def inside_mask(output: Tensor, structure: Tensor, mask: Tensor | None) -> Tensor:
    """Return the output inside the structure mask, and the structure image outside of it; without mask, the output."""
    return output if mask is None else torch.lerp(structure, output, mask)


def _output_mistake(output: object, image: Tensor) -> str:
    """Describe the mistake in what a generator returned for an image; "" if it is a valid image of the same size."""
    if not isinstance(output, Tensor):
        return type_with_article(output)
    if output.shape != image.shape:
        return f"a tensor of shape {tuple(output.shape)}"
    if output.dtype != torch.float32:
        return f"a tensor of {output.dtype}"
    if torch.is_grad_enabled() and not output.requires_grad:
        return "an image without a gradient (it is detached, or does not depend on the generator's parameters)"
    return ""


class Optimisation:
    """Takes the steps of a problem, one at a time.

    Args:
        problem: problem to optimise.
        indices: indices of the steps, on which seeds and term schedules depend; None: all steps of the run.

    Attributes:
        next: index of the next step.
        updated: whether the generator has been updated, so that it differs from the one that was built.
    """

    def __init__(self, problem: Problem, indices: range | None = None) -> None:
        self.problem = problem
        self.indices = range(problem.config.steps) if indices is None else indices
        self.next = self.indices.start
        self.updated = False
        config = problem.config
        views = config.views
        if problem.tile is not None:  # tiles are new in each step, so `MemoryBank` would store features in vain
            views = views.model_copy(update={"structure": views.structure.model_copy(update={"bank": None})})
        self.targets = {
            name: Targets(problem.images, backbone, MemoryBank(views), problem.vectors)
            for name, backbone in problem.backbones.items()
        }
        self.optimiser = torch.optim.Adam(
            problem.generator.parameters(), lr=config.optimiser.lr, betas=config.optimiser.betas
        )

    def steps(self) -> Iterator[Step]:
        """Take the remaining steps; each is yielded after its update.

        Raises:
            NonFiniteLoss: if a term or the gradient becomes NaN or infinite. The generator is restored to the
                last state in which every term was finite, if there was one since this method was called.
            PartRejected: if the generator returns anything but a differentiable float32 image of the size of its input.
        """
        generator, tile = self.problem.generator, self.problem.tile
        last_good: dict[str, Tensor] = {}
        last_good_is_updated = False
        while (index := self.next) < self.indices.stop:
            self._set_progress((index - self.indices.start) / len(self.indices))
            active = [term for term in self.problem.terms if term.config.active(index)]
            if not active:
                self.next = index + 1
                yield Step(index, 0.0, {})
                continue
            self.optimiser.zero_grad(set_to_none=True)
            try:
                step = self._backward(index, active) if tile is None else self._tiled(index, active, tile)
            except NonFiniteLoss:
                if last_good:
                    generator.load_state_dict(last_good)
                    self.updated = last_good_is_updated
                raise
            last_good_is_updated = self.updated
            last_good = {name: value.clone() for name, value in generator.state_dict().items()}
            check_gradients(index, generator)
            self._update(index)
            self.next = index + 1
            yield step

    def image(self) -> Tensor:
        """The current output image, ``(1, 3, H, W)``."""
        return self._masked(self.generated(), entire(self.problem.generator_input))

    def generated(self) -> Tensor:
        """The current output of the generator, before the structure mask is applied, ``(1, 3, H, W)``."""
        self._set_progress(1.0)
        generator = self.problem.generator
        buffers = [(buffer, buffer.clone()) for buffer in generator.buffers()]
        with torch.no_grad(), private_rng(self.problem.config.seed):
            output = self._output(self.problem.generator_input)
            for buffer, before in buffers:  # such as the running statistics of a norm
                buffer.copy_(before)
        return output.detach()

    def state(self) -> dict[str, Tensor]:
        """Return the state dictionaries of generator and optimiser as one dictionary of tensors."""
        return state_of(self.problem.generator, self.optimiser)

    def restore(self, state: Mapping[str, Tensor], next_step: int) -> None:
        """Load a `state`, from which the step of index ``next_step`` is taken next.

        Raises:
            LookupError, RuntimeError, ValueError: if the state does not fit the generator or the optimiser.
        """
        load_state(self.problem.generator, self.optimiser, state)
        self.next, self.updated = next_step, bool(self.optimiser.state)

    def _set_progress(self, fraction: float) -> None:
        """Call the generator's ``set_progress``, if it has one.

        In a step, the argument is the fraction of `indices` that is done; for an output image or a preview it is 1.
        """
        set_progress = getattr(self.problem.generator, "set_progress", None)
        if callable(set_progress):
            set_progress(fraction)

    def _losses(self, index: int, active: list[WeightedTerm]) -> dict[str, Tensor]:
        """The unweighted value of every active term at a step."""
        problem = self.problem
        views = problem.images.views(problem.config.views, problem.config.seed, index)
        rng = seeded(problem.config.seed + index)
        with private_rng(rng):
            outputs = self._generate(dict.fromkeys(term.input for term in active), views)
        return self._values(index, active, views, outputs, rng)

    def _values(
        self,
        index: int,
        active: list[WeightedTerm],
        views: Mapping[ViewKey, View],
        outputs: Mapping[ViewKey, Tensor],
        rng: Generator,
    ) -> dict[str, Tensor]:
        """The unweighted value of every active term.

        Outputs that have the same size after they are resized for a backbone share one pass of it.
        """
        problem = self.problem
        pair = PairOutputs(outputs, views, self.targets, rng, (problem.config.seed, index))
        return pair_values(active, problem.backbones, [pair])[0]

    def _backward(self, index: int, active: list[WeightedTerm]) -> Step:
        """Compute the losses of a step and their gradients. Raises NonFiniteLoss."""
        return add_gradients(index, active, self._losses(index, active))

    def _tiled(self, index: int, active: list[WeightedTerm], tile: int) -> Step:
        """Compute the mean of each loss over tiles of at most ``tile`` pixels a side, and its gradients."""
        problem, seed = self.problem, self.problem.config.seed
        image_views = problem.images.views(problem.config.views, seed, index)
        rng = seeded(seed + index)
        with private_rng(rng):
            output = self._generate([ENTIRE_STRUCTURE], image_views)[ENTIRE_STRUCTURE]
        detached = output.detach().requires_grad_()
        tiles = draw_tiles(detached.shape[-2], detached.shape[-1], tile, seed, index)
        steps = []
        for view in tiles:
            views = {key: image_views[key[0], "entire"] if key[0] == "appearance" else view for key in image_views}
            outputs = {term.input: view.crop(detached) for term in active}
            values = self._values(index, active, views, outputs, rng)
            steps.append(add_gradients(index, active, {name: value / len(tiles) for name, value in values.items()}))
        output.backward(detached.grad)  # type: ignore[no-untyped-call]
        return summed(steps)

    def _generate(self, keys: Iterable[ViewKey], views: Mapping[ViewKey, View]) -> dict[ViewKey, Tensor]:
        """Return the output for each view.

        The view is applied to the output of a canvas, but to the input of any other generator.
        """
        if self.problem.canvas:
            output = self._masked(self._output(self.problem.generator_input), views[ENTIRE_STRUCTURE])
            return {key: views[key](output) for key in keys}
        return {key: self._apply(key, views[key]) for key in keys}

    def _apply(self, key: ViewKey, view: View) -> Tensor:
        """Apply the generator to a view: of the appearance image if the key names it, else of the generator's input."""
        if key[0] == "appearance":
            rows = torch.split(view(self.problem.images.pixels["appearance"]), 1)
            return torch.cat([self._output(row) for row in rows])
        return self._masked(self._output(view(self.problem.generator_input)), view)

    def _output(self, image: Tensor) -> Tensor:
        """Apply the generator to an image ``(1, 3, H, W)``. Raises PartRejected if it returns no such image."""
        output: Tensor = self.problem.generator(image)
        if mistake := _output_mistake(output, image):
            raise PartRejected(
                f"generator '{self.problem.config.generator.name}' returned {mistake}; a generator returns a float32 "
                f"tensor of the shape of its input, {tuple(image.shape)}, that is differentiable in its parameters"
            )
        return output

    def _masked(self, output: Tensor, view: View) -> Tensor:
        """Apply the structure mask to an output for a view."""
        mask = self.problem.images.masks.get("structure")
        if mask is None:
            return output
        return inside_mask(output, view(self.problem.images.pixels["structure"]), view.crop(mask))

    def _update(self, index: int) -> None:
        rate = learning_rate(self.problem.config.optimiser, index - self.indices.start, len(self.indices))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.updated = True
