"""The optimisation of a generator towards the weighted sum of loss terms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitsplice.config import RunConfig, TermConfig
from vitsplice.contracts import MASK, MATCH, Backbone, FeatureRequest, ImageName, LossTerm
from vitsplice.engine.features import Resizer, extract
from vitsplice.engine.schedule import learning_rate
from vitsplice.engine.targets import FeatureTable, Place, RunImages, Targets
from vitsplice.engine.views import View
from vitsplice.errors import LossTermRejected, NonFiniteLoss
from vitsplice.rng import private_rng, seeded

OF_THE_IMAGE = (MATCH, MASK)
"""What a term gets on the side of the output from the image at that place, not from what was made of it."""


GENERATOR, OPTIMISER = "generator.", "optimiser."


@dataclass(frozen=True)
class WeightedTerm:
    """A term of the loss: which output it looks at, what it is compared with, and how much it counts."""

    name: str
    term: LossTerm
    config: TermConfig
    input: Place
    target: Place
    weight: float


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
        images: the structure image, the appearance image and the start.
        backbone: frozen.
        look: brings images to the size at which the backbone looks.
        generator: what is optimised.
        canvas: whether the generator holds one image (`vitsplice.contracts.GeneratorSpec`).
        terms: the weighted loss terms.
        fed: what the generator is fed for the output, as large as the structure image.
    """

    config: RunConfig
    images: RunImages
    backbone: Backbone
    look: Resizer
    generator: nn.Module
    canvas: bool
    terms: tuple[WeightedTerm, ...]
    fed: Tensor


class Optimisation:
    """Runs the steps of a problem, one at a time.

    Args:
        problem: what to optimise.
        indices: of the steps to take, which seeds and the turns of terms go by; None is all of the run's.
    """

    def __init__(self, problem: Problem, indices: range | None = None) -> None:
        self.problem = problem
        self.indices = range(problem.config.steps) if indices is None else indices
        self.next = self.indices.start
        config = problem.config
        self.targets = Targets(problem.images, problem.backbone, problem.look, config.views)
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
        while (index := self.next) < self.indices.stop:
            self._tell((index - self.indices.start) / len(self.indices))
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
        """The output image as it is now, ``(1, 3, H, W)``."""
        return self._masked(self.generated(), self._image("structure"))

    def generated(self) -> Tensor:
        """What the generator makes now, before the structure mask is applied, ``(1, 3, H, W)``."""
        self._tell(1.0)
        with torch.no_grad(), private_rng(self.problem.config.seed):
            made: Tensor = self.problem.generator(self.problem.fed)
        return made.detach()

    def state(self) -> dict[str, Tensor]:
        """All that the steps have changed, by name: the generator's tensors and the optimiser's."""
        moments = self.optimiser.state_dict()["state"]
        return {f"{GENERATOR}{name}": value for name, value in self.problem.generator.state_dict().items()} | {
            f"{OPTIMISER}{number}.{name}": value for number, kept in moments.items() for name, value in kept.items()
        }

    def restore(self, state: Mapping[str, Tensor], following: int) -> None:
        """Go on as one whose `state` this was, before the step of index ``following``.

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
        for at, kept in moments.items():
            expected = {"step": torch.Size(), "exp_avg": shapes[at], "exp_avg_sq": shapes[at]}
            if {name: value.shape for name, value in kept.items()} != expected:
                raise ValueError(f"the optimiser's state number {at} is not of this generator")
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})
        self.next = following

    def _tell(self, part: float) -> None:
        """Tell a generator that wants to know how much of the steps is done."""
        at = getattr(self.problem.generator, "at", None)
        if callable(at):
            at(part)

    def _losses(self, index: int, active: list[WeightedTerm]) -> dict[str, Tensor]:
        """The unweighted value of every term that is active at a step."""
        views = self.problem.images.views(self.problem.config.views, self.problem.config.seed, index)
        known = self.targets(target_requests(active), views)
        requests = output_requests(active)
        rng = seeded(self.problem.config.seed + index)
        with private_rng(rng):
            made = self._generate(dict.fromkeys(term.input for term in active), views)
        outputs = self._extract(made, requests)
        with private_rng(rng):
            return term_values(active, outputs, known)

    def _generate(self, places: Iterable[Place], views: Mapping[Place, View]) -> dict[Place, Tensor]:
        if self.problem.canvas:
            output = self._masked(self.problem.generator(self.problem.fed), self._image("structure"))
            return {place: views[place].place(output) for place in places}
        return {place: self._made_of(place, views[place]) for place in places}

    def _made_of(self, place: Place, view: View) -> Tensor:
        """What the generator makes of a view; the structure image's place is fed the start."""
        if place[0] == "appearance":
            return torch.as_tensor(self.problem.generator(view(self._image("appearance"))))
        made = self.problem.generator(view(self.problem.fed))
        return self._masked(made, view(self._image("structure")), view)

    def _image(self, image: ImageName) -> Tensor:
        return self.problem.images.pixels[image]

    def _masked(self, output: Tensor, structure: Tensor, view: View | None = None) -> Tensor:
        """The output where the structure image's mask lets it through, and the structure image elsewhere."""
        mask = self.problem.images.masks.get("structure")
        if mask is None:
            return output
        return torch.lerp(structure, output, view.place(mask) if view else mask)

    def _extract(self, images: Mapping[Place, Tensor], requests: list[FeatureRequest]) -> FeatureTable:
        return extract(self.problem.backbone, self.problem.look, images, requests)

    def _backward(self, total: Tensor) -> float:
        """Compute the gradients of the generator, and return their norm."""
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.problem.generator.parameters() if p.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def _update(self, index: int) -> None:
        config = self.problem.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(config.optimiser, index - self.indices.start, len(self.indices))
        self.optimiser.step()


def output_requests(terms: Iterable[WeightedTerm]) -> list[FeatureRequest]:
    """The features that terms need of an output itself."""
    return [request for term in terms for request in term.term.requests if request not in OF_THE_IMAGE]


def target_requests(terms: Iterable[WeightedTerm]) -> dict[Place, list[FeatureRequest]]:
    """The images' places that terms need to know, and what of each; targets first."""
    asked: dict[Place, list[FeatureRequest]] = {}
    for term in terms:
        asked.setdefault(term.target, []).extend(term.term.requests)
    for term in terms:
        of_the_image = [request for request in term.term.requests if request in OF_THE_IMAGE]
        if of_the_image:
            asked.setdefault(term.input, []).extend(of_the_image)
    return asked


def term_values(terms: Iterable[WeightedTerm], outputs: FeatureTable, known: FeatureTable) -> dict[str, Tensor]:
    """The unweighted value of each term, by its name.

    Args:
        terms: that run.
        outputs: features of the output at each place that is the input of a term (`output_requests`).
        known: features of the images (`target_requests`).

    Raises:
        LossTermRejected: if a term returns anything but a scalar that can be differentiated in the output.
    """
    complete = {
        place: {**features, **{r: known[place][r] for r in OF_THE_IMAGE if r in known.get(place, {})}}
        for place, features in outputs.items()
    }
    values = {}
    for term in terms:
        values[term.name] = value = term.term.function(complete[term.input], known[term.target])
        differentiable = any(features.values.requires_grad for features in complete[term.input].values())
        if mistake := value_mistake(value, differentiable=differentiable):
            raise LossTermRejected(
                f"term '{term.name}' (loss term '{term.config.loss}') returned {mistake}; "
                "a loss term returns a scalar tensor, of shape (), that can be differentiated in the output's features"
            )
    return values


def value_mistake(value: object, *, differentiable: bool = True) -> str:
    """What is wrong with the value of a loss term, or "" if it is a scalar.

    Args:
        value: that its function returned.
        differentiable: whether the output's features are, so that the value has to be.
    """
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.shape != ():
        return f"a tensor of shape {tuple(value.shape)} (.mean() or .sum() reduces it)"
    if not value.is_floating_point():
        return f"a tensor of {value.dtype}"
    if differentiable and not value.requires_grad:
        return "a value without a gradient (it is detached, or computed under no_grad or from numbers alone)"
    return ""
