"""Appearance, structure and identity as loss terms: what they ask a backbone for, and for which pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from vitsplice.contracts import GLOBAL_FACETS, FeatureRequest, Features, LossSpec, LossTerm, Option, Role, TermContext
from vitsplice.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

FORM = Option(
    "mse", "norm: as printed in the paper, not squared; mse: as in the released code", choices=("norm", "mse")
)


def distance_term(function: Callable[[Tensor, Tensor, str], Tensor], role: Role, context: TermContext) -> LossTerm:
    """A term that compares one request's features of two pictures by ``function(output, target, form)``."""
    request = context.request(role)
    form = context.options["form"]

    def compare(output: Mapping[FeatureRequest, Features], target: Mapping[FeatureRequest, Features]) -> Tensor:
        return function(output[request].values, target[request].values, form)

    return LossTerm((request,), compare)


def _appearance(context: TermContext) -> LossTerm:
    from vitsplice.losses.functional import appearance_loss

    return distance_term(appearance_loss, "appearance", context)


def _structure(context: TermContext) -> LossTerm:
    from vitsplice.losses.functional import structure_loss

    facet = context.request("structure").facet
    if facet in GLOBAL_FACETS:
        raise ConfigError(f"the structure term compares places with each other, and facet '{facet}' has none")
    return distance_term(structure_loss, "structure", context)


def _identity(context: TermContext) -> LossTerm:
    from vitsplice.losses.functional import identity_loss

    return distance_term(identity_loss, "structure", context)


_spec = partial(LossSpec, options={"form": FORM})

APPEARANCE = _spec(
    "appearance",
    _appearance,
    "[CLS] of the output near the appearance image's (paper, equation 3)",
    input="structure",
    target="appearance",
)
STRUCTURE = _spec(
    "structure",
    _structure,
    "key self-similarity of the output near the structure image's (paper, equations 2 and 4)",
    input="structure",
    target="structure",
)
IDENTITY = _spec(
    "identity",
    _identity,
    "fed the appearance image, the generator keeps its keys (paper, equation 5)",
    input="appearance",
    target="appearance",
)
