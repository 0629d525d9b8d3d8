"""Losses as `torch.nn.Module` for a training loop: one loss term, or all terms of a preset.

The modules evaluate terms as a run does (`vitsplice.engine`), on entire images. Everything is computed in float32,
under autocast too, unless the module or its backbone was cast. Gradients flow to the outputs that are passed in a call,
in their dtype, and to nothing else.

Example:
    >>> import torch
    >>> from vitsplice.loss_modules import FeatureLoss, StructureLoss, from_preset
    >>> structure, appearance = torch.rand(2, 3, 64, 64).split(1)
    >>> output = structure.clone().requires_grad_()

    One term that compares two images:

    >>> loss = StructureLoss("untrained-test_vit", size=64)
    >>> loss(output, structure).item()
    0.0

    One term that needs more than two images; the features of its targets are computed once:

    >>> loss = FeatureLoss("untrained-test_vit", "texture", size=64).set_targets(structure, appearance)
    >>> loss(output).backward()

    The terms of a preset:

    >>> overrides = ["terms.identity.weight=0", "terms.identity-entire.weight=0"]
    >>> loss = from_preset("paper", structure, appearance, backbone="untrained-test_vit", size=64, overrides=overrides)
    >>> loss(output).backward()
    >>> list(loss(output, unreduced=True))
    ['appearance', 'structure', 'appearance-entire', 'structure-entire']
    >>> loss.weights["structure"]
    0.1
"""

from __future__ import annotations

from vitsplice.loss_modules.base import TermsLoss
from vitsplice.loss_modules.modules import (
    AppearanceLoss,
    FeatureLoss,
    IdentityLoss,
    PresetLoss,
    StructureLoss,
    from_preset,
)

__all__ = [
    "AppearanceLoss",
    "FeatureLoss",
    "IdentityLoss",
    "PresetLoss",
    "StructureLoss",
    "TermsLoss",
    "from_preset",
]
