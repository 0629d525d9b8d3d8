"""Views: seeded crops and augmentations of an image.

A `View` is a set of plain values, so that the same view can be applied to several images, such as an image and its
mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vitsplice.config import JitterConfig, ViewConfig
from vitsplice.rng import stream

ENOUGH = 0.9
"""Minimum mask area in a crop, relative to the largest mask area that a crop of this size can contain."""


@dataclass(frozen=True)
class View:
    """A crop of an image, and its augmentations.

    Args:
        top, left, height, width: the crop, in pixels.
        flip: whether the crop is flipped horizontally.
        jitter: colour adjustments in order: the name of each, and its factor (for ``hue`` a shift).
        blur: kernel side and sigma in pixels; None: no blur.
    """

    top: int
    left: int
    height: int
    width: int
    flip: bool = False
    jitter: tuple[tuple[str, float], ...] = ()
    blur: tuple[int, float] | None = None

    def crop(self, image: Tensor) -> Tensor:
        """Crop and flip ``(B, C, H, W)``, without changing colours."""
        crop = image[..., self.top : self.top + self.height, self.left : self.left + self.width]
        return crop.flip(-1) if self.flip else crop

    def __call__(self, image: Tensor) -> Tensor:
        """Apply the view to an image ``(B, 3, H, W)``."""
        output = self.crop(image)
        if not self.jitter and not self.blur:
            return output
        import torchvision.transforms.functional as TF  # takes seconds: it imports the compiler of torch

        for name, factor in self.jitter:
            output = getattr(TF, f"adjust_{name}")(output, factor)
        if self.blur:
            output = TF.gaussian_blur(output, [self.blur[0]] * 2, [self.blur[1]] * 2)
        return output


def entire(image: Tensor) -> View:
    """Return the view of the entire image, without augmentations."""
    return View(0, 0, image.shape[-2], image.shape[-1])


def draw(config: ViewConfig, height: int, width: int, rng: Generator) -> View:
    """Draw a view of an image of ``height`` by ``width`` pixels."""
    if config.shape == "square":
        side = min(height, width)
        crop_height = crop_width = integer(rng, *(max(1, round(scale * side)) for scale in config.crop))
    else:
        scale = uniform(rng, *config.crop)
        crop_height, crop_width = max(1, round(scale * height)), max(1, round(scale * width))
    return View(
        top=integer(rng, 0, height - crop_height),
        left=integer(rng, 0, width - crop_width),
        height=crop_height,
        width=crop_width,
        flip=_happens(rng, config.flip),
        jitter=_jitter(config.jitter, rng) if _happens(rng, config.jitter.probability) else (),
        blur=(
            (config.blur.kernel, uniform(rng, *config.blur.sigma)) if _happens(rng, config.blur.probability) else None
        ),
    )


def _jitter(config: JitterConfig, rng: Generator) -> tuple[tuple[str, float], ...]:
    amounts = [
        ("brightness", uniform(rng, 1 - config.brightness, 1 + config.brightness)),
        ("contrast", uniform(rng, 1 - config.contrast, 1 + config.contrast)),
        ("saturation", uniform(rng, 1 - config.saturation, 1 + config.saturation)),
        ("hue", uniform(rng, -config.hue, config.hue)),
    ]
    return tuple(amounts[i] for i in torch.randperm(len(amounts), generator=rng).tolist())


def integer(rng: Generator, low: int, high: int) -> int:
    """Draw an integer from ``low`` to ``high``, both included."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def uniform(rng: Generator, low: float, high: float) -> float:
    """Draw a number between ``low`` and ``high``."""
    return low + (high - low) * float(torch.rand((), generator=rng, dtype=torch.float64))


def _happens(rng: Generator, probability: float) -> bool:
    return uniform(rng, 0, 1) < probability


def draw_for(config: ViewConfig, image: Tensor, seed: int, step: int, role: str, mask: Tensor | None = None) -> View:
    """Draw the view of an image at a step.

    Args:
        config: how views are drawn; with ``bank``, the view is one of that many fixed views.
        image: ``(B, 3, H, W)``.
        seed, step, role: determine the random numbers.
        mask: ``(B, 1, H, W)`` in [0, 1]; the crop contains enough of the mask (see `ENOUGH`). None: no mask.
    """
    rng = stream(seed, step, role)
    if config.bank is not None:
        rng = stream(seed, "bank", role, integer(rng, 0, config.bank - 1))
    view = draw(config, image.shape[-2], image.shape[-1], rng)
    return view if mask is None else _with_enough_mask(view, mask, rng)


def _with_enough_mask(view: View, mask: Tensor, rng: Generator) -> View:
    """Return the view, with its crop moved if it does not contain enough of a mask ``(B, 1, H, W)``.

    Enough is at least `ENOUGH` of the largest mask area that a crop of this size can contain. The new position is drawn
    from all positions at which the crop contains enough.
    """
    areas = _window_sums(mask, view.height, view.width)
    enough = areas >= ENOUGH * areas.max()
    if enough[view.top, view.left]:
        return view
    corners = enough.nonzero()
    top, left = corners[integer(rng, 0, len(corners) - 1)].tolist()
    return replace(view, top=top, left=left)


def _window_sums(mask: Tensor, height: int, width: int) -> Tensor:
    """Sum a mask ``(B, 1, H, W)`` over the batch and over each window of ``height`` by ``width`` pixels.

    Returns:
        ``(H - height + 1, W - width + 1)``: the sum for each position of the window's top left corner.
    """
    total = F.pad(mask[:, 0].cpu().double().sum(0).cumsum(0).cumsum(1), (1, 0, 1, 0))
    bands = total[height:] - total[:-height]
    return bands[:, width:] - bands[:, :-width]
