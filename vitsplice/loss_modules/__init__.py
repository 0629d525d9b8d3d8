"""The losses as modules for somebody else's training loop: one term, or all the terms of a preset.

Both evaluate terms as a run does (`vitsplice.engine`), on entire images. Everything is computed in float32, under
autocast too; gradients flow to the output in its own type, and to nothing else.

Example:
    >>> import torch
    >>> from vitsplice.losses import FeatureLoss, StructureLoss, from_preset
    >>> structure, appearance = torch.rand(2, 3, 64, 64).split(1)
    >>> output = structure.clone().requires_grad_()

    One term, of two images:

    >>> loss = StructureLoss("untrained-test_vit", size=64)
    >>> loss(output, structure).item()
    0.0

    One term that needs more than two images: the features of its targets are computed once.

    >>> loss = FeatureLoss("untrained-test_vit", "texture", size=64).set_targets(structure, appearance)
    >>> loss(output).backward()

    The terms of a preset:

    >>> loss = from_preset("quick", structure, appearance, backbone="untrained-test_vit", size=64)
    >>> loss(output).backward()
    >>> list(loss(output, unreduced=True))
    ['structure', 'structure-lower', 'appearance', 'texture', 'patches', 'edges', 'smoothness']
    >>> loss.weights["texture"]
    8.0
"""

from __future__ import annotations

from vitsplice.loss_modules.feature import AppearanceLoss, FeatureLoss, IdentityLoss, StructureLoss
from vitsplice.loss_modules.preset import PresetLoss, from_preset
from vitsplice.loss_modules.terms import TermsLoss

__all__ = [
    "AppearanceLoss",
    "FeatureLoss",
    "IdentityLoss",
    "PresetLoss",
    "StructureLoss",
    "TermsLoss",
    "from_preset",
]
