"""The training of one conditional generator on many pairs of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from vitsplice.contracts import Condition
from vitsplice.engine.conditions import ConditionedImage, crop_condition, in_batches
from vitsplice.engine.device import pick_precision
from vitsplice.engine.images import ViewKey
from vitsplice.engine.memory import out_of_memory_advice
from vitsplice.engine.state import load_state, state_of, with_prefix, without_prefix
from vitsplice.engine.terms import WeightedTerm
from vitsplice.engine.values import PairOutputs, Step, add_gradients, check_gradients, check_losses, pair_values, summed
from vitsplice.engine.views import View
from vitsplice.numerics import numerics
from vitsplice.rng import private_rng, stream
from vitsplice.training.data import TrainingData, TrainingExample
from vitsplice.training.parts import TrainingParts
from vitsplice.training.processes import Processes
from vitsplice.training.schedule import average_decay, learning_rate_with_warm_up, pair_at

AVERAGE = "average."
"""Prefix of the averaged weights in the state of a training."""


class BatchedGenerator(nn.Module):
    """Applies a conditional generator to inputs of any sizes.

    Inputs of one size share a call of the generator. All outputs of a batch come from one call of this module, which is
    what torch's ``DistributedDataParallel`` expects.

    Args:
        generator: the generator.
        autocast: dtype of mixed precision; None: float32.
    """

    def __init__(self, generator: nn.Module, autocast: torch.dtype | None) -> None:
        super().__init__()
        self.generator, self._autocast = generator, autocast

    def forward(self, inputs: Sequence[ConditionedImage]) -> list[Tensor]:
        """Return the output ``(1, 3, H, W)`` of each input."""
        return in_batches(self._generate, inputs)

    def _generate(self, images: Tensor, condition: Condition) -> Tensor:
        with torch.autocast(images.device.type, self._autocast, enabled=self._autocast is not None):
            output: Tensor = self.generator(images, condition)
        return output.float()


class Training:
    """Takes the steps of a training, one at a time.

    The losses of a step are means over its pairs. Pairs, views and random numbers of a step depend on its index, the
    settings, the data and the number of processes, not on the steps before. With several processes, each computes
    ``training.batch`` pairs of its own in every batch; the gradients are those of one process with all these pairs, if
    the generator has no dropout or batch statistics.

    Attributes:
        generator: the generator with the weights of the last step.
        average: the generator with the averaged weights: the trained model.
        next: index of the next step.

    Args:
        parts: settings, backbones, terms and generator, on the device of the processes.
        data: the pairs to train on.
        processes: the processes that train together.
    """

    @numerics()
    def __init__(self, parts: TrainingParts, data: TrainingData, processes: Processes) -> None:
        self.parts, self.data, self.processes, self.next = parts, data, processes, 0
        self.generator = parts.build_generator()
        self.average = deepcopy(self.generator).eval().requires_grad_(False)
        config = parts.config.optimiser
        self.optimiser = torch.optim.Adam(self.generator.parameters(), lr=config.lr, betas=config.betas)
        precision = pick_precision(parts.training.precision, parts.device)
        self._batched_generator = processes.wrapped(
            BatchedGenerator(self.generator, torch.bfloat16 if precision == "bfloat16" else None)
        )

    def steps(self) -> Iterator[Step]:
        """Take the remaining steps; each is yielded after its update.

        Raises:
            NonFiniteLoss: if a term or the gradient becomes NaN or infinite; the weights are those of the step before.
            OutOfMemory: if memory is too small.
        """
        while self.next < self.parts.config.steps:
            with numerics(), out_of_memory_advice():
                step = self._take(self.next)
            self.next += 1
            yield step

    def state(self) -> dict[str, Tensor]:
        """Return generator, optimiser and averaged weights as one dictionary of tensors."""
        return state_of(self.generator, self.optimiser) | with_prefix(AVERAGE, self.average.state_dict())

    @numerics()
    def restore(self, state: Mapping[str, Tensor], next_step: int) -> None:
        """Load a `state`; the next step to take has the index ``next_step``.

        Raises:
            LookupError, RuntimeError, ValueError: if the state does not fit the generator or the optimiser.
        """
        load_state(self.generator, self.optimiser, state)
        self.average.load_state_dict(without_prefix(AVERAGE, state))
        self.next = next_step

    @numerics(grad=False)
    def output(self, example: TrainingExample) -> Tensor:
        """Return the output of the averaged generator for the entire structure image, ``(1, 3, H, W)`` on the CPU."""
        image, condition = generator_input(example, ("structure", "entire"), example.views(0))
        output: Tensor = self.average(image, condition)
        return output.float().cpu()

    @numerics(grad=False)
    def losses(self, example: TrainingExample) -> dict[str, float]:
        """Return the unweighted value of every term with the averaged generator, at the views of step 0."""
        terms = self.parts.recipe.terms
        values = self._values(0, terms, [example], [0], BatchedGenerator(self.average, None))[0]
        return {name: value.item() for name, value in values.items()}

    def _take(self, index: int) -> Step:
        active = [term for term in self.parts.recipe.terms if term.config.active(index)]
        if not active:
            return Step(index, 0.0, {})
        self.optimiser.zero_grad(set_to_none=True)
        count = self.parts.training.accumulation
        batches = [self._backward_batch(index, active, number, count) for number in range(count)]
        check_gradients(index, self.generator)
        self._update(index)
        return summed(batches)

    def _backward_batch(self, index: int, active: Sequence[WeightedTerm], number: int, count: int) -> Step:
        """Add the gradients of batch ``number`` of a step, and return its losses. Raises NonFiniteLoss.

        Gradients and losses are divided by ``count``, the number of batches.
        """
        with self.processes.gradients(self._batched_generator, averaged=number == count - 1):
            slots = self._slots(number)
            examples = [self._example(index, slot) for slot in slots]
            values = self._values(index, active, examples, slots, self._batched_generator)
            losses = {term.name: torch.stack([each[term.name] for each in values]).mean() / count for term in active}
            means = self.processes.mean(torch.stack([loss.detach() for loss in losses.values()])).tolist()
            mean_losses = dict(zip(losses, means, strict=True))
            check_losses(index, mean_losses)
            add_gradients(index, active, losses)
        return Step(index, sum(term.weight * mean_losses[term.name] for term in active), mean_losses)

    def _slots(self, number: int) -> list[int]:
        """Return the positions, among all pairs of a step, of the pairs of one batch in this process."""
        batch = self.parts.training.batch
        first = (number * self.processes.count + self.processes.index) * batch
        return list(range(first, first + batch))

    def _example(self, index: int, slot: int) -> TrainingExample:
        training = self.parts.training
        position = index * training.batch * training.accumulation * self.processes.count + slot
        number = pair_at(position, len(self.data), self.parts.config.seed)
        return self.data[number]

    def _values(
        self,
        index: int,
        active: Sequence[WeightedTerm],
        examples: Sequence[TrainingExample],
        slots: Sequence[int],
        generator: nn.Module,
    ) -> list[dict[str, Tensor]]:
        """Compute the unweighted value of each active term for each example."""
        seed, views = self.parts.config.seed, [example.views(index) for example in examples]
        keys = list(dict.fromkeys(term.input for term in active))
        inputs = [
            generator_input(example, key, example_views)
            for example, example_views in zip(examples, views, strict=True)
            for key in keys
        ]
        with private_rng(stream(seed, index, "generator", slots[0])):
            outputs = iter(generator(inputs))
        pairs = [
            PairOutputs(
                {key: next(outputs) for key in keys},
                example_views,
                example.targets,
                stream(seed, index, "terms", slot),
                (seed, index, slot),
            )
            for example, example_views, slot in zip(examples, views, slots, strict=True)
        ]
        return pair_values(active, self.parts.recipe.backbones, pairs)

    @torch.no_grad()
    def _update(self, index: int) -> None:
        training, config = self.parts.training, self.parts.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_with_warm_up(config.optimiser, training.warm_up, index, config.steps)
        self.optimiser.step()
        decay = average_decay(training.ema, index)
        for average, weight in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)
        for average_buffer, buffer in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            average_buffer.copy_(buffer)


def generator_input(example: TrainingExample, key: ViewKey, views: Mapping[ViewKey, View]) -> ConditionedImage:
    """Return a view of the structure image or of the appearance image, with the conditions of that image.

    Args:
        example: the pair.
        key: image and kind of view.
        views: views of the images.
    """
    name, view = key[0], views[key]
    image = example.images.pixels[name]
    condition = example.own_condition if name == "appearance" else example.condition
    return view(image), crop_condition(condition or {}, view, (image.shape[-2], image.shape[-1]))
