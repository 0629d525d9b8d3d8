"""The losses of one step: on one pair of images, or on several at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import ViewKey
from vitsplice.engine.targets import Targets
from vitsplice.engine.terms import WeightedTerm, image_requests, output_requests, term_values
from vitsplice.engine.views import View
from vitsplice.errors import NonFiniteLoss
from vitsplice.rng import private_rng


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
class PairOutputs:
    """Output images for views of one pair of images, and what they are compared with.

    Args:
        outputs: output image for each view that is the input of a term.
        views: views of the images.
        targets: key of a backbone -> the object that computes the features of the images.
        rng: random numbers of the loss terms.
        key: determines the random facet ``positions``: seed and step, in a training also the index of the pair in the
            step.
    """

    outputs: Mapping[ViewKey, Tensor]
    views: Mapping[ViewKey, View]
    targets: Mapping[str, Targets]
    rng: Generator
    key: tuple[object, ...]


def pair_values(
    active: Sequence[WeightedTerm], backbones: Mapping[str, SizedBackbone], pairs: Sequence[PairOutputs]
) -> list[dict[str, Tensor]]:
    """Compute the unweighted value of each active term for each pair.

    Each backbone is applied once to all outputs of one size, of all pairs together.

    Args:
        active: active terms.
        backbones: backbones by key.
        pairs: outputs and targets of the pairs.

    Returns:
        Values by name of the term, in the order of the terms, for each pair.

    Raises:
        UserError, LossTermRejected: see `term_values`.
    """
    values: list[dict[str, Tensor]] = [{} for _ in pairs]
    for name, backbone in backbones.items():
        if not (terms := [term for term in active if term.backbone == name]):
            continue
        targets = [pair.targets[name](image_requests(terms), pair.views) for pair in pairs]
        inputs = list(dict.fromkeys(term.input for term in terms))
        outputs = {(number, key): pair.outputs[key] for number, pair in enumerate(pairs) for key in inputs}
        features = backbone.features(outputs, output_requests(terms))
        for number, pair in enumerate(pairs):
            output_features = {key: pair.targets[name].joined(features[number, key]) for key in inputs}
            with private_rng(pair.rng):
                values[number] |= term_values(terms, output_features, targets[number], *pair.key)
    return [{term.name: each[term.name] for term in active} for each in values]


def add_gradients(index: int, active: Sequence[WeightedTerm], losses: Mapping[str, Tensor]) -> Step:
    """Add the gradients of the weighted sum of losses to those of the parameters, and return the losses as a step.

    Raises:
        NonFiniteLoss: if a loss is NaN or infinite; no gradient is then computed.
    """
    values = {name: loss.item() for name, loss in losses.items()}
    check_losses(index, values)
    total = torch.stack([term.weight * losses[term.name] for term in active]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    return Step(index, total.item(), values)


def check_losses(index: int, losses: Mapping[str, float]) -> None:
    """Raise NonFiniteLoss, naming the term, if a loss of a step is NaN or infinite."""
    for name, value in losses.items():
        if not math.isfinite(value):
            raise NonFiniteLoss(index, name, value)


def check_gradients(index: int, generator: nn.Module) -> None:
    """Raise NonFiniteLoss if the norm of all gradients of a step is NaN or infinite."""
    gradients = [parameter.grad for parameter in generator.parameters() if parameter.grad is not None]
    if not math.isfinite(norm := float(nn.utils.get_total_norm(gradients))):
        raise NonFiniteLoss(index, "", norm)


def last_loss(steps: Sequence[Step], term: str) -> float:
    """Return the unweighted value of a term at its last active step; NaN if it was never active."""
    return next((step.losses[term] for step in reversed(steps) if term in step.losses), math.nan)


def summed(steps: Sequence[Step]) -> Step:
    """Sum the losses over the tiles or batches of one step, which must all have the same terms."""
    losses = {name: sum(step.losses[name] for step in steps) for name in steps[0].losses}
    return Step(steps[0].index, sum(step.total for step in steps), losses)
