"""Views: seeded crops and augmentations of an image.

Drawing a view and applying it are apart: a `View` is plain numbers, so the same view can be cut from several
images, and drawn again from the seed and the step alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import Generator, Tensor

from vitsplice.config import JitterConfig, ViewConfig
from vitsplice.rng import stream

ADJUST = {
    "brightness": TF.adjust_brightness,
    "contrast": TF.adjust_contrast,
    "saturation": TF.adjust_saturation,
    "hue": TF.adjust_hue,
}

ENOUGH = 0.9
"""A view covers at least this fraction of the mask that the best view of the same size covers."""


@dataclass(frozen=True)
class View:
    """Where a view lies (pixels), and what is done to it.

    Args:
        top, left, height, width: the crop.
        flip: horizontally.
        jitter: colour adjustments in the order they are made.
        blur: kernel side and sigma in pixels, or None.
    """

    top: int
    left: int
    height: int
    width: int
    flip: bool = False
    jitter: tuple[tuple[str, float], ...] = ()
    blur: tuple[int, float] | None = None

    def place(self, image: Tensor) -> Tensor:
        """Only what moves pixels: the crop and the flip of ``(B, 3, H, W)``."""
        crop = image[..., self.top : self.top + self.height, self.left : self.left + self.width]
        return crop.flip(-1) if self.flip else crop

    def __call__(self, image: Tensor) -> Tensor:
        """The view of an image ``(B, 3, H, W)``."""
        seen = self.place(image)
        for name, amount in self.jitter:
            seen = ADJUST[name](seen, amount)
        if self.blur:
            seen = TF.gaussian_blur(seen, [self.blur[0]] * 2, [self.blur[1]] * 2)
        return seen


def entire(image: Tensor) -> View:
    """The view that is the whole image, unchanged."""
    return View(0, 0, image.shape[-2], image.shape[-1])


def draw(config: ViewConfig, height: int, width: int, rng: Generator) -> View:
    """Draw a view of an image of this size."""
    if config.shape == "square":
        shorter = min(height, width)
        tall = wide = _whole(rng, max(1, round(config.crop[0] * shorter)), max(1, round(config.crop[1] * shorter)))
    else:
        part = _uniform(rng, *config.crop)
        tall, wide = max(1, round(part * height)), max(1, round(part * width))
    return View(
        top=_whole(rng, 0, height - tall),
        left=_whole(rng, 0, width - wide),
        height=tall,
        width=wide,
        flip=_happens(rng, config.flip),
        jitter=_jitter(config.jitter, rng) if _happens(rng, config.jitter.probability) else (),
        blur=(
            (config.blur.kernel, _uniform(rng, *config.blur.sigma)) if _happens(rng, config.blur.probability) else None
        ),
    )


def _jitter(config: JitterConfig, rng: Generator) -> tuple[tuple[str, float], ...]:
    amounts = [
        ("brightness", _uniform(rng, 1 - config.brightness, 1 + config.brightness)),
        ("contrast", _uniform(rng, 1 - config.contrast, 1 + config.contrast)),
        ("saturation", _uniform(rng, 1 - config.saturation, 1 + config.saturation)),
        ("hue", _uniform(rng, -config.hue, config.hue)),
    ]
    return tuple(amounts[i] for i in torch.randperm(len(amounts), generator=rng).tolist())


def _whole(rng: Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, (), generator=rng))


def _uniform(rng: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng, dtype=torch.float64))


def _happens(rng: Generator, probability: float) -> bool:
    return _uniform(rng, 0, 1) < probability


def draw_for(config: ViewConfig, image: Tensor, seed: int, step: int, role: str, mask: Tensor | None = None) -> View:
    """The view of an image that a step sees: one of its bank, or one of its own.

    Args:
        config: how views are drawn.
        image: ``(1, 3, H, W)``.
        seed, step, image: what the view depends on.
        mask: ``(1, 1, H, W)`` in [0, 1], of which the view has to cover `ENOUGH`; None is the same as white.
    """
    rng = stream(seed, step, role)
    if config.bank is not None:
        rng = stream(seed, "bank", role, _whole(rng, 0, config.bank - 1))
    view = draw(config, image.shape[-2], image.shape[-1], rng)
    return view if mask is None else keeping(view, mask, rng)


def keeping(view: View, mask: Tensor, rng: Generator) -> View:
    """The view if it covers enough of a mask ``(1, 1, H, W)``, else one of the same size that does, drawn uniformly."""
    inside = _sums(mask, view.height, view.width)
    enough = inside >= ENOUGH * inside.max()
    if enough[view.top, view.left]:
        return view
    corners = enough.nonzero()
    top, left = corners[_whole(rng, 0, len(corners) - 1)].tolist()
    return replace(view, top=top, left=left)


def _sums(mask: Tensor, height: int, width: int) -> Tensor:
    """The sum of a mask over every window of a size, by the window's corner, ``(H - height + 1, W - width + 1)``."""
    total = F.pad(mask[0, 0].cpu().double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    rows = total[height:] - total[:-height]
    return rows[:, width:] - rows[:, :-width]
