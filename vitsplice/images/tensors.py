"""Tensors of images: the checks of one image for `vitsplice.splice`, and of batches for the loss modules."""

from __future__ import annotations

import torch
from torch import Tensor

from vitsplice.errors import ImageError
from vitsplice.images.limits import check_range, check_size

LAYOUT = "(3, H, W) or (B, 3, H, W)"

OVERSHOOT = 0.05
"""How far the values of images in a caller's own code may lie outside [0, 1]: resizing and optimising overshoot."""


def check_plain(tensor: Tensor, name: str) -> None:
    """Refuse tensors whose values do not all lie in ordinary memory: masked, nested, sparse, quantised, meta."""
    kind = type(tensor).__name__
    if kind != "MaskedTensor":
        facts = {"nested": tensor.is_nested, "quantised": tensor.is_quantized, "on the meta device": tensor.is_meta}
        facts[str(tensor.layout)] = tensor.layout != torch.strided
        kind = next((what for what, true in facts.items() if true), "")
    if kind:
        raise ImageError(f"'{name}' must be a dense tensor; this one is {kind}")


def unit_tensor(tensor: Tensor, name: str) -> Tensor:
    """A tensor as float32 on its device: uint8 divided by 255, floating types converted, differentiable.

    Raises:
        ImageError: for another type.
    """
    if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
        raise ImageError(f"a tensor must be uint8 or float; '{name}' is {tensor.dtype}")
    values = tensor.as_subclass(Tensor).to(torch.float32)
    return values / 255 if tensor.dtype == torch.uint8 else values


def image_batch(pixels: Tensor, name: str, *, tolerance: float = 0.0, check: bool = True) -> Tensor:
    """Images as ``(B, 3, H, W)``, float32 in [0, 1], on their device; gradients flow back in the input's own type.

    Type, shape and size are always checked, before anything is computed.

    Args:
        pixels: ``(3, H, W)`` or ``(B, 3, H, W)``, uint8 or floating.
        name: of the argument, for messages.
        tolerance: how far values may lie outside [0, 1].
        check: whether to check the range of the values; on a GPU that waits for the device.

    Raises:
        ImageError: saying what was given and what is allowed.
    """
    if not isinstance(pixels, Tensor):
        raise ImageError(f"'{name}' must be a tensor {LAYOUT} in [0, 1], not a {type(pixels).__name__}")
    check_plain(pixels, name)
    shape = tuple(pixels.shape)
    if len(shape) not in (3, 4) or shape[-3] != 3 or not all(shape):
        raise ImageError(f"'{name}' must be {LAYOUT}; this one is {shape}{_hint(shape)}")
    check_size(name, shape[-1], shape[-2])
    values = unit_tensor(pixels, name).reshape(-1, *shape[-3:])
    if check:
        check_range(name, values.detach(), tolerance)
    return values


def _hint(shape: tuple[int, ...]) -> str:
    if len(shape) in (3, 4) and shape[-1] == 3:
        return ": channels come first, .movedim(-1, -3) puts them there"
    if len(shape) in (3, 4) and shape[-3] in (1, 4):
        return ": RGB has 3 channels" + (", .expand(-1, 3, -1, -1) repeats a grey one" if shape[-3] == 1 else "")
    return ""
