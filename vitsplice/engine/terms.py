"""Weighted loss terms: the features that they request, and their values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from vitsplice.config import TermConfig
from vitsplice.contracts import INPUT, MASK, MATCH, POSITIONS, FeatureRequest, LossTerm
from vitsplice.engine.features import random_positions
from vitsplice.engine.images import ViewKey
from vitsplice.engine.targets import FeatureTable
from vitsplice.errors import LossTermRejected, UserError
from vitsplice.text import type_with_article

INPUT_VIEW_REQUESTS = (INPUT, MATCH, MASK)
"""Requests that are answered with features of a term's input view, not of the output.

An input view of ``structure`` shows the structure image here, even if the output of a run is generated
from another image."""

NOT_OF_THE_OUTPUT = (*INPUT_VIEW_REQUESTS, POSITIONS)
"""Requests that are answered for the output without computing features of it."""


@dataclass(frozen=True)
class WeightedTerm:
    """A loss term of a run, a training or a loss module, with its views and its weight.

    Args:
        name: name of the term in the settings.
        loss_term: the built loss term.
        config: settings of the term.
        backbone: key of its backbone in the settings.
        input: the view that the output is generated from; in a run, the view of ``structure`` shows the input of the
            generator instead, which is the start image with the changes of earlier stages.
        target: the view that the output is compared with.
        weight: factor of the term's value in the total: the weight in the settings times a strength.
    """

    name: str
    loss_term: LossTerm
    config: TermConfig
    backbone: str
    input: ViewKey
    target: ViewKey
    weight: float


def output_requests(terms: Iterable[WeightedTerm]) -> list[FeatureRequest]:
    """Return those requests of the terms that need features of the output itself."""
    return [request for term in terms for request in term.loss_term.requests if request not in NOT_OF_THE_OUTPUT]


def image_requests(terms: Iterable[WeightedTerm]) -> dict[ViewKey, list[FeatureRequest]]:
    """Return what terms request of the images, by view.

    Target views come first, with all requests; input views have only the requests in `INPUT_VIEW_REQUESTS`.
    """
    terms = tuple(terms)
    requests: dict[ViewKey, list[FeatureRequest]] = {}
    for term in terms:
        requests.setdefault(term.target, []).extend(term.loss_term.requests)
    for term in terms:
        if requested := [request for request in term.loss_term.requests if request in INPUT_VIEW_REQUESTS]:
            requests.setdefault(term.input, []).extend(requested)
    return requests


def term_values(
    terms: Sequence[WeightedTerm], outputs: FeatureTable, targets: FeatureTable, *key: object
) -> dict[str, Tensor]:
    """Compute the unweighted value of each term, by name.

    Args:
        terms: active terms of one backbone.
        outputs: features of the output (`output_requests`), by input view of the terms. If they answer a request in
            `INPUT_VIEW_REQUESTS`, they are used instead of the features of the input view.
        targets: features of the target views and of the input views (`image_requests`).
        key: determines the random facet ``positions``.

    Raises:
        UserError: if a term cannot compare its images.
        LossTermRejected: if a term returns anything but a floating-point scalar, or a scalar that requires no gradient
            although a feature of the output requires one.
    """
    uses_positions = any(POSITIONS in term.loss_term.requests for term in terms)
    output_positions, target_positions = (
        {POSITIONS: random_positions(*key, image)} if uses_positions else {} for image in ("output", "target")
    )
    output_features = {
        view: {
            **{r: targets[view][r] for r in INPUT_VIEW_REQUESTS if r in targets.get(view, {})},
            **features,
            **output_positions,
        }
        for view, features in outputs.items()
    }
    values = {}
    for term in terms:
        target_features = targets[term.target] | target_positions
        try:
            values[term.name] = value = term.loss_term.function(output_features[term.input], target_features)
        except UserError as error:
            raise UserError(f"terms.{term.name}: ", *error.parts) from error
        differentiable = any(features.values.requires_grad for features in output_features[term.input].values())
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
        return "a value without a gradient (it is detached, under no_grad, or does not depend on the output's features)"
    return ""
