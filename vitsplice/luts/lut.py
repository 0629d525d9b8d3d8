"""A 3D lookup table of colours (3D LUT)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.errors import UserError
from vitsplice.images.checks import image_batch, single_image
from vitsplice.luts.fitting import SMOOTHNESS, fitted_values

SIZE = 33
"""Default number of lattice points of an axis."""

SMALLEST, LARGEST = 2, 256
"""Allowed numbers of lattice points of an axis, as in the specification of .cube files."""


@dataclass(frozen=True, eq=False)
class Lut:
    """A function from colour to colour, given on a lattice and interpolated trilinearly between its points.

    Colours are gamma-encoded sRGB, as in image files, not linear.

    Args:
        values: output colour of each lattice point, ``(N, N, N, 3)``; the axes are red, green and blue of the input.
            A copy in float32 on the CPU is stored.
        domain: input colours of the first and the last lattice point, ``((r, g, b), (r, g, b))``.

    Raises:
        UserError: if the shape, a value or the domain is not allowed.
    """

    values: Tensor
    domain: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def __post_init__(self) -> None:
        shape = tuple(self.values.shape)
        if len(shape) != 4 or shape[3] != 3 or len(set(shape[:3])) != 1 or not SMALLEST <= shape[0] <= LARGEST:
            allowed = f"(N, N, N, 3) with N from {SMALLEST} to {LARGEST}"
            raise UserError(f"the values of a 3D LUT must be {allowed}; these are {shape}")
        values = self.values.detach().to("cpu", torch.float32, copy=True)
        if not values.isfinite().all():
            raise UserError("the values of a 3D LUT must be finite; these contain NaN or infinity")
        try:
            ends = torch.tensor([[*end] for end in self.domain], dtype=torch.float32)
        except (TypeError, ValueError):
            ends = torch.empty(0)
        if ends.shape != (2, 3):
            raise UserError(f"the domain of a 3D LUT must be two colours of three numbers; this one is {self.domain}")
        if not all(0 < extent < float("inf") for extent in (ends[1] - ends[0]).tolist()):
            low, high = (" ".join(f"{value:g}" for value in end) for end in self.domain)
            raise UserError(
                "in each channel, the end of the domain of a 3D LUT must be above its start, and their difference "
                f"finite in float32; this domain is from {low} to {high}"
            )
        object.__setattr__(self, "values", values)

    @property
    def size(self) -> int:
        """Number of lattice points of an axis."""
        return self.values.shape[0]

    @classmethod
    def identity(cls, size: int = SIZE) -> Lut:
        """Return the LUT that changes no colour in [0, 1]. Raises UserError if the size is not allowed."""
        if type(size) is not int or not SMALLEST <= size <= LARGEST:
            raise UserError(f"size={size!r} is not allowed; it must be a whole number from {SMALLEST} to {LARGEST}")
        axis = torch.linspace(0, 1, size)
        return cls(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1))

    @classmethod
    def fit(
        cls,
        source: Tensor,
        target: Tensor,
        *,
        mask: Tensor | None = None,
        size: int = SIZE,
        smoothness: float = SMOOTHNESS,
    ) -> Lut:
        """Fit a LUT that maps the colours of an image to those of another one, pixel by pixel.

        Where similar source colours have different target colours, the LUT gives roughly their mean. Colours that
        the source does not have change like the nearest ones that it has, but less with increasing distance: far from
        them the LUT tends to the identity. See `vitsplice.luts.fitting`.

        Args:
            source: ``(3, H, W)`` or ``(1, 3, H, W)`` in [0, 1].
            target: as ``source``, of the same size.
            mask: ``(H, W)`` or ``(1, H, W)``; only pixels where it is at least 0.5 are used. None: all pixels.
            size: number of lattice points of an axis.
            smoothness: weight above 0 of the penalty on second differences of the change of colour; its effect hardly
                depends on ``size``. A small one follows the target more closely, but noise and differences that are
                not a function of the colour show as speckles.

        Raises:
            UserError: if an image, ``size`` or the smoothness is not allowed, the sizes of images and mask differ, or
                the mask has several channels or excludes every pixel.

        Example:
            >>> image = torch.rand(3, 64, 64)
            >>> darker = Lut.fit(image, image * 0.5, size=9, smoothness=0.1)
            >>> bool((darker.apply(image) - image * 0.5).abs().max() < 0.02)
            True
        """
        if not 0 < smoothness < float("inf"):
            raise UserError(f"smoothness={smoothness} is not allowed; it must be above 0, and finite")
        sources, targets = _colours(source, "source"), _colours(target, "target")
        check_sizes(source, target, mask)
        if mask is not None:
            inside = included(mask).reshape(-1).cpu()
            sources, targets = sources[inside], targets[inside]
        identity = cls.identity(size).values
        return cls(torch.from_numpy(fitted_values(sources.numpy(), targets.numpy(), identity.numpy(), smoothness)))

    def apply(self, images: Tensor) -> Tensor:
        """Map the colours of images. Colours outside of the domain are clamped to it. Differentiable.

        Args:
            images: ``(3, H, W)`` or ``(B, 3, H, W)`` in [0, 1].

        Returns:
            Images of the same shape, clamped to [0, 1].
        """
        batch = image_batch(images, "images")
        low, high = (batch.new_tensor(end) for end in self.domain)
        positions = (batch.movedim(1, -1) - low) / (high - low) * 2 - 1
        lattice = self.values.to(images.device).movedim(-1, 0)[None].expand(len(batch), -1, -1, -1, -1)
        # The last coordinate of grid_sample belongs to the first axis, red.
        output = F.grid_sample(lattice, positions.flip(-1)[:, None], padding_mode="border", align_corners=True)
        return output.reshape(images.shape).clamp(0, 1)


def check_sizes(*images: Tensor | None) -> None:
    """Raise UserError unless images and masks, of any leading dimensions, have the same size; None is ignored."""
    shapes = [image.shape[-2:] for image in images if image is not None]
    if len(set(shapes)) != 1:
        sizes = " and ".join("x".join(map(str, reversed(shape))) for shape in shapes)
        raise UserError(
            f"the images, and their mask if there is one, must have the same size, not {sizes} px; resize them first"
        )


def included(mask: Tensor) -> Tensor:
    """Return the boolean mask of the pixels that are used.

    Args:
        mask: ``(H, W)`` or ``(1, H, W)``.

    Raises:
        UserError: if no pixel is at least 0.5, or the mask has several channels.
    """
    if mask.numel() != mask.shape[-2:].numel():
        raise UserError(f"the mask of a LUT must have one channel; its shape is {tuple(mask.shape)}")
    inside = mask >= 0.5
    if not inside.any():
        raise UserError("the mask excludes every pixel, as none is at least 0.5")
    return inside


def _colours(image: Tensor, name: str) -> Tensor:
    """Return the colours ``(H W, 3)`` of one image."""
    return single_image(image, name)[0].detach().cpu().flatten(1).T
