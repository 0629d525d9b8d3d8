"""The optimisation of a generator towards the weighted sum of loss terms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitsplice.backbones.resize import Resize
from vitsplice.config import RunConfig, TermConfig
from vitsplice.contracts import Backbone, FeatureRequest, Features, LossTerm, Role
from vitsplice.engine.features import extract
from vitsplice.engine.schedule import learning_rate
from vitsplice.engine.views import View, draw, entire
from vitsplice.errors import NonFiniteLoss
from vitsplice.rng import private_rng, stream

Place = tuple[Role, str]
"""A picture of a step: of which image, and which view of it."""

FeatureTable = Mapping[Place, Mapping[FeatureRequest, Features]]


@dataclass(frozen=True)
class WeightedTerm:
    """A term of the loss: which output it looks at, what it is compared with, and how much it counts."""

    name: str
    term: LossTerm
    config: TermConfig
    input: Place
    target: Place


@dataclass(frozen=True)
class Step:
    """What one step saw.

    Args:
        index: from 0.
        total: the weighted sum.
        losses: term name -> unweighted value, for the terms that ran.
    """

    index: int
    total: float
    losses: Mapping[str, float]


@dataclass(frozen=True)
class Problem:
    """Everything that an optimisation needs, on one device.

    Args:
        config: the settings.
        structure, appearance: the two images, ``(1, 3, H, W)`` in [0, 1].
        backbone: frozen.
        generator: what is optimised.
        canvas: whether the generator holds one picture (`vitsplice.contracts.GeneratorSpec`).
        terms: the weighted loss terms.
    """

    config: RunConfig
    structure: Tensor
    appearance: Tensor
    backbone: Backbone
    generator: nn.Module
    canvas: bool
    terms: tuple[WeightedTerm, ...]


class Optimisation:
    """Runs the steps of a problem, one at a time."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        config = problem.config
        self.images: dict[Role, Tensor] = {"structure": problem.structure, "appearance": problem.appearance}
        self.resize = Resize(config.resize.size, config.resize.max_size, config.resize.interpolation)
        self.optimiser = torch.optim.Adam(
            problem.generator.parameters(), lr=config.optimiser.lr, betas=config.optimiser.betas
        )

    def steps(self) -> Iterator[Step]:
        """Take the steps of the run; each is yielded after its update.

        Raises:
            NonFiniteLoss: if a term or the gradient becomes NaN or infinite. The generator is put back to the
                last step at which every term was finite.
        """
        generator = self.problem.generator
        last_good: dict[str, Tensor] = {}
        for index in range(self.problem.config.steps):
            active = [term for term in self.problem.terms if term.config.active(index)]
            if not active:
                yield Step(index, 0.0, {})
                continue
            losses = self._losses(index, active)
            values = {name: loss.item() for name, loss in losses.items()}
            for name, value in values.items():
                if not math.isfinite(value):
                    generator.load_state_dict(last_good or generator.state_dict())
                    raise NonFiniteLoss(index, name, value)
            last_good = {name: value.clone() for name, value in generator.state_dict().items()}
            total = torch.stack([term.config.weight * losses[term.name] for term in active]).sum()
            if not math.isfinite(norm := self._backward(total)):
                raise NonFiniteLoss(index, "", norm)
            self._update(index)
            yield Step(index, total.item(), values)

    def picture(self) -> Tensor:
        """The output image as it is now, ``(1, 3, H, W)``."""
        with torch.no_grad(), private_rng(self.problem.config.seed):
            made: Tensor = self.problem.generator(self.problem.structure)
        return made.detach()

    def _losses(self, index: int, active: list[WeightedTerm]) -> dict[str, Tensor]:
        """The unweighted value of every term that is active at a step."""
        views = self._views(index)
        seen = {place: views[place](self.images[place[0]]) for term in active for place in (term.input, term.target)}
        requests = [request for term in active for request in term.term.requests]
        with torch.no_grad():
            targets = self._extract({term.target: seen[term.target] for term in active}, requests)
        with private_rng(self.problem.config.seed + index):
            made = self._generate({term.input: seen[term.input] for term in active}, views)
        outputs = self._extract(made, requests)
        return {term.name: term.term.function(outputs[term.input], targets[term.target]) for term in active}

    def _views(self, index: int) -> dict[Place, View]:
        """The views of a step: they depend on the seed and the step alone."""
        config, views = self.problem.config, {}
        for role, view_config in (
            ("structure", config.views.structure),
            ("appearance", config.views.appearance),
        ):
            image = self.images[role]  # type: ignore[index]
            views[role, "entire"] = entire(image)
            views[role, "crop"] = draw(view_config, image.shape[-2], image.shape[-1], stream(config.seed, index, role))
        return views  # type: ignore[return-value]

    def _generate(self, inputs: Mapping[Place, Tensor], views: Mapping[Place, View]) -> dict[Place, Tensor]:
        generator = self.problem.generator
        if self.problem.canvas:
            output = generator(self.problem.structure)
            return {place: views[place].place(output) for place in inputs}
        return {place: generator(picture) for place, picture in inputs.items()}

    def _extract(self, pictures: Mapping[Place, Tensor], requests: list[FeatureRequest]) -> FeatureTable:
        return extract(self.problem.backbone, self.resize, pictures, requests)

    def _backward(self, total: Tensor) -> float:
        """Compute the gradients of the generator, and return their norm."""
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.problem.generator.parameters() if p.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def _update(self, index: int) -> None:
        config = self.problem.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(config.optimiser, index, config.steps)
        self.optimiser.step()
