"""The optimisation of a generator by a weighted sum of loss terms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitsplice.config import OptimiserConfig, RunConfig
from vitsplice.contracts import Backbone, ImageName
from vitsplice.engine.features import Resizer, extract
from vitsplice.engine.images import RunImages, ViewKey
from vitsplice.engine.targets import Targets
from vitsplice.engine.terms import WeightedTerm, output_requests, target_requests, term_values
from vitsplice.engine.views import View
from vitsplice.errors import NonFiniteLoss
from vitsplice.rng import private_rng, seeded

GENERATOR, OPTIMISER = "generator.", "optimiser."
"""Prefixes of tensors in the state of an optimisation."""


@dataclass(frozen=True)
class Step:
    """The losses of one step.

    Args:
        index: index of the step, from 0.
        total: weighted sum of the losses.
        losses: term name -> unweighted value, for the active terms.
    """

    index: int
    total: float
    losses: Mapping[str, float]


@dataclass(frozen=True)
class Problem:
    """Everything that an optimisation needs, on one device.

    Args:
        config: the settings.
        images: the structure image, the appearance image and the start.
        backbone: backbone with frozen parameters.
        resize: resizes images to the size at which the backbone is applied.
        generator: the module that is optimised.
        canvas: whether the generator holds the output image itself (`vitsplice.contracts.GeneratorSpec`).
        terms: the weighted loss terms.
        generator_input: the generator's input for the output image, as large as the structure image.
    """

    config: RunConfig
    images: RunImages
    backbone: Backbone
    resize: Resizer
    generator: nn.Module
    canvas: bool
    terms: tuple[WeightedTerm, ...]
    generator_input: Tensor


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """Return the learning rate at a step (from 0) of ``steps``; ``cosine`` decays from ``lr`` towards 0."""
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
    return config.lr


class Optimisation:
    """Takes the steps of a problem, one at a time.

    Args:
        problem: problem to optimise.
        indices: indices of the steps, on which seeds and term schedules depend; None: all steps of the run.
    """

    def __init__(self, problem: Problem, indices: range | None = None) -> None:
        self.problem = problem
        self.indices = range(problem.config.steps) if indices is None else indices
        self.next = self.indices.start
        config = problem.config
        self.targets = Targets(problem.images, problem.backbone, problem.resize, config.views)
        self.optimiser = torch.optim.Adam(
            problem.generator.parameters(), lr=config.optimiser.lr, betas=config.optimiser.betas
        )

    def steps(self) -> Iterator[Step]:
        """Take the remaining steps; each is yielded after its update.

        Raises:
            NonFiniteLoss: if a term or the gradient becomes NaN or infinite. The generator is restored to the last
                step at which every term was finite.
        """
        generator = self.problem.generator
        last_good: dict[str, Tensor] = {}
        while (index := self.next) < self.indices.stop:
            self._set_progress((index - self.indices.start) / len(self.indices))
            active = [term for term in self.problem.terms if term.config.active(index)]
            if not active:
                self.next = index + 1
                yield Step(index, 0.0, {})
                continue
            losses = self._losses(index, active)
            values = {name: loss.item() for name, loss in losses.items()}
            for name, value in values.items():
                if not math.isfinite(value):
                    generator.load_state_dict(last_good or generator.state_dict())
                    raise NonFiniteLoss(index, name, value)
            last_good = {name: value.clone() for name, value in generator.state_dict().items()}
            total = torch.stack([term.weight * losses[term.name] for term in active]).sum()
            if not math.isfinite(norm := self._backward(total)):
                raise NonFiniteLoss(index, "", norm)
            self._update(index)
            self.next = index + 1
            yield Step(index, total.item(), values)

    def image(self) -> Tensor:
        """The current output image, ``(1, 3, H, W)``."""
        return self._masked(self.generated(), self._image("structure"))

    def generated(self) -> Tensor:
        """The current output of the generator, before the structure mask is applied, ``(1, 3, H, W)``."""
        self._set_progress(1.0)
        with torch.no_grad(), private_rng(self.problem.config.seed):
            output: Tensor = self.problem.generator(self.problem.generator_input)
        return output.detach()

    def state(self) -> dict[str, Tensor]:
        """Return the state dictionaries of generator and optimiser as one dictionary of tensors."""
        state = {f"{GENERATOR}{name}": value for name, value in self.problem.generator.state_dict().items()}
        for number, tensors in self.optimiser.state_dict()["state"].items():
            state |= {f"{OPTIMISER}{number}.{name}": value for name, value in tensors.items()}
        return state

    def restore(self, state: Mapping[str, Tensor], next_step: int) -> None:
        """Load a `state`, from which the step of index ``next_step`` is taken next.

        Raises:
            LookupError, RuntimeError, ValueError: if it is the state of another generator or optimiser.
        """
        generator = {name.removeprefix(GENERATOR): v for name, v in state.items() if name.startswith(GENERATOR)}
        self.problem.generator.load_state_dict(generator)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith(OPTIMISER):
                number, _, moment = name.removeprefix(OPTIMISER).partition(".")
                moments.setdefault(int(number), {})[moment] = value
        shapes = [parameter.shape for parameter in self.problem.generator.parameters()]
        for index, tensors in moments.items():
            expected = {"step": torch.Size(), "exp_avg": shapes[index], "exp_avg_sq": shapes[index]}
            if {name: value.shape for name, value in tensors.items()} != expected:
                raise ValueError(f"the optimiser state of parameter {index} does not fit this generator")
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})
        self.next = next_step

    def _set_progress(self, fraction: float) -> None:
        """Call the generator's ``set_progress``, if it has one, with the fraction of steps done."""
        set_progress = getattr(self.problem.generator, "set_progress", None)
        if callable(set_progress):
            set_progress(fraction)

    def _losses(self, index: int, active: list[WeightedTerm]) -> dict[str, Tensor]:
        """The unweighted value of every active term at a step."""
        problem = self.problem
        views = problem.images.views(problem.config.views, problem.config.seed, index)
        targets = self.targets(target_requests(active), views)
        rng = seeded(problem.config.seed + index)
        with private_rng(rng):
            outputs = self._generate(dict.fromkeys(term.input for term in active), views)
        features = extract(problem.backbone, problem.resize, outputs, output_requests(active))
        with private_rng(rng):
            return term_values(active, features, targets)

    def _generate(self, keys: Iterable[ViewKey], views: Mapping[ViewKey, View]) -> dict[ViewKey, Tensor]:
        """The output for each view: a canvas is cropped, any other generator is applied to the view."""
        if self.problem.canvas:
            output = self._masked(self.problem.generator(self.problem.generator_input), self._image("structure"))
            return {key: views[key].crop(output) for key in keys}
        return {key: self._apply(key[0], views[key]) for key in keys}

    def _apply(self, name: ImageName, view: View) -> Tensor:
        """Apply the generator to a view of the appearance image, or else of the generator's input."""
        if name == "appearance":
            return torch.as_tensor(self.problem.generator(view(self._image("appearance"))))
        output = self.problem.generator(view(self.problem.generator_input))
        return self._masked(output, view(self._image("structure")), view)

    def _image(self, name: ImageName) -> Tensor:
        return self.problem.images.pixels[name]

    def _masked(self, output: Tensor, structure: Tensor, view: View | None = None) -> Tensor:
        """The output inside the structure mask, and the structure image outside of it."""
        mask = self.problem.images.masks.get("structure")
        if mask is None:
            return output
        return torch.lerp(structure, output, view.crop(mask) if view else mask)

    def _backward(self, total: Tensor) -> float:
        """Compute the gradients of the generator, and return their norm."""
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.problem.generator.parameters() if p.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def _update(self, index: int) -> None:
        rate = learning_rate(self.problem.config.optimiser, index - self.indices.start, len(self.indices))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
