"""Networks with random weights, as controls: what an architecture shows before it has seen an image."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vitsplice.contracts import Backbone, BackboneSpec
from vitsplice.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "untrained-"
"""Before a timm name, or an alias of one."""

SOURCE = "random weights"


def spec_for(name: str) -> BackboneSpec | None:
    """The spec of ``untrained-`` and a timm name or alias, or None."""
    import timm

    from vitsplice.backbones.timm import ALIASES

    if not name.startswith(PREFIX):
        return None
    wanted = name.removeprefix(PREFIX)
    timm_name = ALIASES[wanted][0] if wanted in ALIASES else wanted
    if not timm.is_model(timm_name):
        return None
    return BackboneSpec(name, partial(build, timm_name, name), f"timm {timm_name}, untrained", "none", SOURCE)


def build(timm_name: str, name: str, weights: Path | None) -> Backbone:
    """A timm model with the weights that it is created with, the same each time.

    Raises:
        UserError: if a file of weights is given.
    """
    from vitsplice.backbones.timm import with_weights

    if weights is not None:
        raise UserError(f"backbone '{name}' has random weights and takes no file; leave out '{PREFIX}'")
    return with_weights(timm_name, random_weights(timm_name), normalised=True, name=name, licence="none", source=SOURCE)


def random_weights(timm_name: str) -> dict[str, Tensor]:
    """A state dict, the same each time.

    Scales of residual branches (LayerScale) are 1: timm begins some near 0, where a block does nothing.
    """
    import timm
    import torch

    from vitsplice.rng import private_rng

    with private_rng(0):
        state: dict[str, Tensor] = timm.create_model(timm_name, num_classes=0).state_dict()
    return {name: torch.ones_like(value) if name.endswith(".gamma") else value for name, value in state.items()}
