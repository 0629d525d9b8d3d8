"""Weighted loss terms: the features that they request, and their values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from vitsplice.config import TermConfig
from vitsplice.contracts import INPUT, MASK, MATCH, POSITIONS, FeatureRequest, LossTerm
from vitsplice.engine.features import random_positions
from vitsplice.engine.images import ViewKey
from vitsplice.engine.targets import FeatureTable
from vitsplice.errors import LossTermRejected, UserError
from vitsplice.text import type_with_article

OF_THE_INPUT = (INPUT, MATCH, MASK)
"""Features that a term gets for the output, although they are computed from a view of an image of the run: the term's
input view. If that view is of the structure image, so are the features, even if the generator has another input."""

NOT_OF_THE_OUTPUT = (*OF_THE_INPUT, POSITIONS)
"""Features that a term gets for the output, although the output is not needed to compute them."""


@dataclass(frozen=True)
class WeightedTerm:
    """A loss term of a run.

    Args:
        name: name of the term in the settings.
        term: the built loss term.
        config: settings of the term.
        backbone: key of its backbone in the settings.
        input: the view that the generator is applied to; in a run ``structure`` stands for the generator's input.
        target: the view that the output is compared with.
        weight: factor of the term's value in the total.
    """

    name: str
    term: LossTerm
    config: TermConfig
    backbone: str
    input: ViewKey
    target: ViewKey
    weight: float


def output_requests(terms: Iterable[WeightedTerm]) -> list[FeatureRequest]:
    """Return the features of the output that terms request."""
    return [request for term in terms for request in term.term.requests if request not in NOT_OF_THE_OUTPUT]


def target_requests(terms: Iterable[WeightedTerm]) -> dict[ViewKey, list[FeatureRequest]]:
    """Return the requests of terms by view of the images: those for targets first, then those for inputs."""
    terms = tuple(terms)
    requests: dict[ViewKey, list[FeatureRequest]] = {}
    for term in terms:
        requests.setdefault(term.target, []).extend(term.term.requests)
    for term in terms:
        if of_the_input := [request for request in term.term.requests if request in OF_THE_INPUT]:
            requests.setdefault(term.input, []).extend(of_the_input)
    return requests


def term_values(
    terms: Iterable[WeightedTerm], outputs: FeatureTable, targets: FeatureTable, *key: object
) -> dict[str, Tensor]:
    """Compute the unweighted value of each term, by name.

    Args:
        terms: active terms of one backbone.
        outputs: features of the output for each view that is a term's input (`output_requests`).
        targets: features of views of the images (`target_requests`).
        key: determines the facet ``positions``.

    Raises:
        UserError: if a term cannot compare its images.
        LossTermRejected: if a term returns anything but a scalar, or one without a gradient although a feature of the
            output requires a gradient.
    """
    terms = tuple(terms)
    sampled = any(POSITIONS in term.term.requests for term in terms)
    positions = [{POSITIONS: random_positions(*key, of)} if sampled else {} for of in ("output", "target")]
    complete = {
        view: {**features, **positions[0], **{r: targets[view][r] for r in OF_THE_INPUT if r in targets.get(view, {})}}
        for view, features in outputs.items()
    }
    values = {}
    for term in terms:
        target = targets[term.target] | positions[1]
        try:
            values[term.name] = value = term.term.function(complete[term.input], target)
        except UserError as error:
            raise UserError(f"terms.{term.name}: ", *error.parts) from error
        differentiable = any(features.values.requires_grad for features in complete[term.input].values())
        if mistake := value_mistake(value, differentiable=differentiable):
            raise LossTermRejected(
                f"term '{term.name}' (loss term '{term.config.loss}') returned {mistake}; a loss term returns a scalar "
                "tensor, of shape (), that is differentiable in the output's features"
            )
    return values


def value_mistake(value: object, *, differentiable: bool = True) -> str:
    """Describe the mistake in the value of a loss term; "" if it is a valid scalar.

    Args:
        value: return value of the term's function.
        differentiable: whether the value must require a gradient.
    """
    if not isinstance(value, Tensor):
        return type_with_article(value)
    if value.shape != ():
        return f"a tensor of shape {tuple(value.shape)} (.mean() or .sum() reduces it)"
    if not value.is_floating_point():
        return f"a tensor of {value.dtype}"
    if differentiable and not value.requires_grad:
        return "a value without a gradient (it is detached, or computed under no_grad or from numbers alone)"
    return ""
