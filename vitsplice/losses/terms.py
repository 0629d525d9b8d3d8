"""The built-in loss terms: what they ask a backbone for, which images they compare, and what they can be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from vitsplice.contracts import (
    GLOBAL_FACETS,
    MASK,
    FeatureRequest,
    Features,
    LossSpec,
    LossTerm,
    Option,
    Role,
    TermContext,
)
from vitsplice.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

FORM = Option(
    "mse", "norm: as printed in the paper, not squared; mse: as in the released code", choices=("norm", "mse")
)


def distance_term(function: Callable[[Tensor, Tensor, str], Tensor], role: Role, context: TermContext) -> LossTerm:
    """A term that compares one request's features of two images by ``function(output, target, form)``.

    Where the target has a mask, only the locations of both that it covers are compared.
    """
    request = context.request(role)
    form = context.options["form"]

    def compare(output: Mapping[FeatureRequest, Features], target: Mapping[FeatureRequest, Features]) -> Tensor:
        mask = target.get(MASK)
        return function(inside(output[request], mask), inside(target[request], mask), form)

    return LossTerm((request,), compare)


def inside(features: Features, mask: Features | None) -> Tensor:
    """The values of features ``(1, N, D)`` that count: prefix tokens, and locations that a mask covers.

    Args:
        features: of any grid, or global ones, which count as they are.
        mask: ``(1, H * W, 1)``; None is the same as white.
    """
    if mask is None or features.grid is None:
        return features.values
    import torch
    import torch.nn.functional as F

    from vitsplice.matching import usable

    counts = usable(F.adaptive_avg_pool2d(mask.maps, features.grid).flatten())
    return torch.cat([features.values[:, : features.prefix], features.patches[:, counts]], 1)


def _appearance(context: TermContext) -> LossTerm:
    from vitsplice.losses.functional import appearance_loss

    return distance_term(appearance_loss, "appearance", context)


def _structure(context: TermContext) -> LossTerm:
    from vitsplice.losses.functional import structure_loss

    facet = context.request("structure").facet
    if facet in GLOBAL_FACETS:
        raise ConfigError(f"the structure term compares places with each other, and facet '{facet}' has none")
    if context.layer is None and context.options["depth"] < 1:
        context = replace(context, layer=context.backbone.layer_at(context.options["depth"]))
    return distance_term(structure_loss, "structure", context)


def _identity(context: TermContext) -> LossTerm:
    from vitsplice.losses.functional import identity_loss

    return distance_term(identity_loss, "structure", context)


DEPTH = Option(1.0, "how far up the layers it looks, where no layer is given", minimum=0.0, maximum=1.0)

FEATURE_FORM = replace(
    FORM,
    default="relative",
    choices=("relative", *FORM.choices),
    help=f"{FORM.help}; relative: squared error as a part of the target's squared deviation from its mean",
)

_spec = partial(LossSpec, options={"form": FORM})

APPEARANCE = _spec(
    "appearance",
    _appearance,
    "[CLS] of the output near the appearance image's (paper, equation 3)",
    input="structure",
    target="appearance",
)
STRUCTURE = LossSpec(
    "structure",
    _structure,
    "key self-similarity of the output near the structure image's (paper, equations 2 and 4)",
    input="structure",
    target="structure",
    options={"form": FORM, "depth": DEPTH},
)
IDENTITY = _spec(
    "identity",
    _identity,
    "fed the appearance image, the generator keeps its keys (paper, equation 5)",
    input="appearance",
    target="appearance",
)
FEATURE = LossSpec(
    "feature",
    _identity,
    "one feature of the output near the structure image's: feature inversion",
    input="structure",
    target="structure",
    options={"form": FEATURE_FORM},
)


def _guided(name: str) -> Callable[[TermContext], LossTerm]:
    """The builder of that name in `vitsplice.losses.guided`, which is imported when it is called."""

    def build(context: TermContext) -> LossTerm:
        from vitsplice.losses import guided

        term: LossTerm = getattr(guided, name)(context)
        return term

    return build


CALLED_FOR = {
    "temperature": Option(
        0.02, "of the assignment that says which target places are called for", minimum=1e-4, maximum=10.0
    ),
    "uniform": Option(0.3, "0: target places count as they are called for; 1: all alike", minimum=0.0, maximum=1.0),
}

TEXTURE = LossSpec(
    "texture",
    _guided("texture"),
    "tokens like those of corresponding places (relaxed earth mover's distance, guided)",
    input="structure",
    target="appearance",
    options={
        "guide": Option(1.5, "weight of the correspondence beside the texture", minimum=0.0, maximum=1e6),
        "depths": Option(
            [0.17, 0.33, 0.5, 0.67, 0.83], "how far up the layers lie that are compared", minimum=0.0, maximum=1.0
        ),
        **CALLED_FOR,
    },
)
PATCHES = LossSpec(
    "patches",
    _guided("patches"),
    "Lab patches distributed as in the appearance image (sliced Wasserstein distance)",
    input="structure",
    target="appearance",
    options={
        "size": Option(7, "side of a patch in pixels", minimum=1, maximum=64),
        "stride": Option(5, "pixels from one patch to the next", minimum=1, maximum=64),
        "directions": Option(64, "how many random directions", minimum=1, maximum=4096),
        **CALLED_FOR,
    },
)
EDGES = LossSpec(
    "edges",
    _guided("edges"),
    "the start's gradients of lightness, where its edges stand out",
    input="structure",
    target="start",
    options={"sharpness": Option(1.0, "the greater, the fewer edges count", minimum=0.0, maximum=100.0)},
)
SMOOTHNESS = LossSpec(
    "smoothness",
    _guided("smoothness"),
    "little total variation of lightness, and less of colour",
    input="structure",
    target="structure",
    options={
        "light": Option(0.05, "weight of lightness", minimum=0.0, maximum=1e6),
        "chroma": Option(1.0, "weight of colour", minimum=0.0, maximum=1e6),
    },
)

TERMS = (APPEARANCE, STRUCTURE, IDENTITY, FEATURE, TEXTURE, PATCHES, EDGES, SMOOTHNESS)
