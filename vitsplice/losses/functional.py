"""The three losses of Splice as pure functions of features.

Source: Tumanyan et al. 2022, "Splicing ViT Features for Semantic Appearance Transfer", section 3, and the
supplement of its journal version (TOG 2023). Each comes in two forms:

* ``norm``, as printed: the Euclidean (Frobenius) norm of the difference, not squared;
* ``mse``, as in the released code: the mean of the squared differences.

`distance` knows a third, for metrics that compare across networks: ``relative``, the squared error as a part of the
target's squared deviation from its mean feature.

Every function returns a scalar, the mean over the batch, zero for equal inputs.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.errors import UserError

Form = Literal["norm", "mse", "relative"]
FORMS: tuple[str, ...] = get_args(Form)


def distance(output: Tensor, target: Tensor, form: str = "mse") -> Tensor:
    """Distance of two tensors ``(B, ...)`` of the same shape.

    Raises:
        UserError: if the shapes differ or the form is unknown.
    """
    if output.shape != target.shape:
        raise UserError(f"cannot compare features of shapes {tuple(output.shape)} and {tuple(target.shape)}")
    if form == "mse":
        return (output - target).square().mean()
    if form == "norm":
        norms: Tensor = torch.linalg.vector_norm((output - target).flatten(1), dim=1)
        return norms.mean()
    if form == "relative":
        middle = target.mean(dim=tuple(range(1, target.ndim - 1)) or -1, keepdim=True)
        error, spread = ((output - target).square(), (target - middle).square())
        return (error.flatten(1).sum(1) / spread.flatten(1).sum(1).clamp(min=1e-12)).mean()
    raise UserError(f"form '{form}' is unknown; it is one of {', '.join(FORMS)}")


def self_similarity(keys: Tensor) -> Tensor:
    """Cosine self-similarity of local features: S_ij = cos(k_i, k_j) (paper, equation 2).

    Args:
        keys: ``(B, N, D)``; for Splice the keys of the last block, heads concatenated, [CLS] row first.

    Returns:
        ``(B, N, N)`` in [-1, 1], symmetric, unit diagonal.
    """
    unit = F.normalize(keys, dim=-1)
    return unit @ unit.transpose(-1, -2)


def appearance_loss(output: Tensor, target: Tensor, form: str = "mse") -> Tensor:
    """Distance of the [CLS] token of the output and of the appearance image (paper, equation 3).

    Args:
        output, target: ``(B, D)``.
        form: ``norm`` (paper) or ``mse`` (released code).
    """
    return distance(output, target, form)


def structure_loss(output: Tensor, target: Tensor, form: str = "mse") -> Tensor:
    """Distance of the key self-similarity of the output and of the structure image (paper, equation 4).

    Args:
        output, target: keys ``(B, N, D)``.
        form: ``norm`` (paper) or ``mse`` (released code).
    """
    return distance(self_similarity(output), self_similarity(target), form)


def identity_loss(output: Tensor, target: Tensor, form: str = "mse") -> Tensor:
    """Distance of the keys of an image and of what the generator makes of it (paper, equation 5).

    Args:
        output, target: keys ``(B, N, D)``.
        form: ``norm`` (paper) or ``mse`` (released code).
    """
    return distance(output, target, form)
