"""The three losses of Splice as pure functions of features.

Source: Tumanyan et al. 2022, "Splicing ViT Features for Semantic Appearance Transfer", section 3, and the supplement of
its journal version (TOG 2023). With x the features of the output and y those of the target (for the structure loss
their self-similarities), each loss has three forms:

* ``norm``, as in the paper: ||x - y||, the Euclidean (Frobenius) norm, not squared;
* ``mse``, as in the released code: mean((x - y)^2);
* ``relative``, for comparisons across networks: ||x - y||^2 / ||y - mean(y)||^2, with the mean over patches (for global
  features, over channels).

Each loss is a scalar, at least 0, the mean over the batch; it is 0 for equal features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.errors import UserError

__all__ = ["appearance_loss", "distance", "identity_loss", "self_similarity", "structure_loss"]

FORMS = ("norm", "mse", "relative")


def distance(output: Tensor, target: Tensor, form: str = "mse") -> Tensor:
    """Compute the distance of two tensors: a scalar, at least 0.

    Args:
        output, target: ``(B, ...)``, of the same shape.
        form: ``mse``, ``norm`` or ``relative``; see `vitsplice.losses.functional`.

    Raises:
        UserError: if the shapes differ or the form is unknown.

    Example:
        >>> distance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), "norm")
        tensor(5.)
    """
    if output.shape != target.shape:
        raise UserError(f"cannot compare features of shapes {tuple(output.shape)} and {tuple(target.shape)}")
    if form == "mse":
        return (output - target).square().mean()
    if form == "norm":
        norms: Tensor = torch.linalg.vector_norm((output - target).flatten(1), dim=1)
        return norms.mean()
    if form == "relative":
        mean = target.mean(dim=_dimensions(target), keepdim=True)
        error, spread = ((output - target).square(), (target - mean).square())
        return (error.flatten(1).sum(1) / spread.flatten(1).sum(1).clamp(min=1e-12)).mean()
    raise UserError(f"form '{form}' is unknown; it is one of {', '.join(FORMS)}")


def _dimensions(target: Tensor) -> tuple[int, ...]:
    """Return the dimensions to average over: the locations, or the channels if there is only one location."""
    locations = tuple(range(1, target.ndim - 1))
    return locations if target[0, ..., :1].numel() > 1 else (-1,)


def self_similarity(keys: Tensor) -> Tensor:
    """Compute the cosine self-similarity of local features, S_ij = cos(k_i, k_j) (paper, equation 2).

    Args:
        keys: ``(B, N, D)``; for Splice the keys of the last block, heads concatenated, [CLS] first.

    Returns:
        ``(B, N, N)`` in [-1, 1], symmetric, with a diagonal of 1.

    Example:
        >>> self_similarity(torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]))
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    unit = F.normalize(keys, dim=-1)
    return unit @ unit.transpose(-1, -2)


def appearance_loss(output: Tensor, target: Tensor, form: str = "mse") -> Tensor:
    """Compute the distance between the [CLS] tokens of the output and of the appearance image (paper, equation 3).

    Args:
        output, target: [CLS] tokens or other global features, ``(B, D)``.
        form: see `distance`.
    """
    return distance(output, target, form)


def structure_loss(output: Tensor, target: Tensor, form: str = "mse") -> Tensor:
    """Compute the distance between the self-similarities of the output and of the structure image (paper, equation 4).

    Args:
        output, target: keys or other local features, ``(B, N, D)``.
        form: see `distance`.
    """
    return distance(self_similarity(output), self_similarity(target), form)


def identity_loss(output: Tensor, target: Tensor, form: str = "mse") -> Tensor:
    """Compute the distance between the keys of the generator's output and of its input image (paper, equation 5).

    Args:
        output, target: keys or other local features, ``(B, N, D)``.
        form: see `distance`.
    """
    return distance(output, target, form)
