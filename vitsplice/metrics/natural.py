"""Natural scene statistics of an output, compared with those of the two photographs that it was made from.

The photographs are the structure image and the appearance image. The features and their distance are those of NIQE
(Mittal, Soundararajan, Bovik 2013, "Making a 'Completely Blind' Image Quality Analyzer"). NIQE compares an image with a
published model of pristine photographs; here the model is fitted to all patches of both photographs. So no parameters
are shipped, and the structure image itself has a distance of about 1, however smooth or busy it is.
"""

from __future__ import annotations

from functools import lru_cache

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import Case, Metric, MetricContext
from vitsplice.errors import VitspliceError
from vitsplice.images.transforms import resized

SIZE = 512
"""Shorter side in pixels at which images are measured; the shortest side of either photograph if that is less."""

MAX_RATIO = 8
"""Maximum of the longer side of a measured image, relative to the shorter side that `SIZE` describes."""

MIN_SIDE = 8
"""Minimum of the shorter side of a measured image, in pixels."""

PATCH, STRIDE = 3 / 16, 1 / 16
"""Side of the patches and distance between them, relative to the shortest side of both measured photographs.

At `SIZE` they are 96 and 32 pixels; otherwise they are rounded."""

WINDOW, DEVIATION = 7, 7 / 6
"""Side and standard deviation of the Gaussian window of `normalised_luminance`, in pixels."""

NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Offsets (down, right) of the neighbours with which a pixel is multiplied."""

ROUNDING = 1e-10
"""Variances up to this are rounding errors: `distance` ignores directions of the features with so little variance."""

SHAPES = torch.arange(200, 10_001, dtype=torch.float64) / 1000
"""Shapes that `fit` chooses from, ascending."""


def natural_statistics(context: MetricContext) -> Metric:
    """Build the metric: `distance` of the `features` of the output from those of both photographs together.

    Sizes are those of `measured_sizes`; the output gets the size of the structure image. A value of 0 means that the
    statistics are those of both photographs together; the structure image itself has a value of about 1.
    """
    features_of = lru_cache(maxsize=2)(_features_at)

    def value(case: Case) -> float:
        sizes = measured_sizes(case.structure, case.appearance)
        smallest = min(min(size) for size in sizes)
        photographs = [
            features_of(image, size, smallest)
            for image, size in zip((case.structure, case.appearance), sizes, strict=True)
        ]
        return distance(_features_at(case.output, sizes[0], smallest), torch.cat(photographs))

    return Metric(value, parameters={"shorter_side": SIZE, "patch": PATCH, "stride": STRIDE})


def measured_sizes(*images: Tensor) -> list[tuple[int, int]]:
    """Return the height and width, both even, at which each image is measured.

    The shorter side of all is `SIZE`, or the shortest side of any image if that is below `SIZE`. An image whose longer
    side would be more than `MAX_RATIO` times this length is reduced further. Up to rounding, none is enlarged.

    Raises:
        VitspliceError: if an image is too small or too thin.
    """
    side = min(SIZE, *(min(image.shape[-2:]) for image in images))
    sizes = []
    for height, width in (image.shape[-2:] for image in images):
        scale = min(side / min(height, width), MAX_RATIO * side / max(height, width))
        sizes.append((2 * round(height * scale / 2), 2 * round(width * scale / 2)))
    if (smallest := min(min(size) for size in sizes)) < MIN_SIDE:
        raise VitspliceError(
            f"an image is too small or too thin: its shorter side would be {smallest} px when it is measured; it must "
            f"be at least {MIN_SIDE} px"
        )
    return sizes


def _features_at(image: Tensor, size: tuple[int, int], smallest: int) -> Tensor:
    return features(resized(image, size), smallest)


def features(image: Tensor, side: int) -> Tensor:
    """Compute the 36 natural scene statistics of NIQE, 18 at each of two scales, for each patch.

    Args:
        image: ``(1, 3, H, W)`` in [0, 1], with even height and width.
        side: length in pixels that the sizes of patches are relative to: at least `MIN_SIDE`, and at most the shorter
            side of the image.

    Returns:
        ``(P, 36)`` for ``P`` patches, in float64 on the CPU.
    """
    luminance = kornia.color.rgb_to_grayscale(image) * 255
    half = Resize().to(luminance, (image.shape[-2] // 2, image.shape[-1] // 2))
    unit = max(1, int(side * STRIDE / 2))
    patch = round(PATCH / STRIDE) * unit
    scales = (_scale_features(luminance, 2 * patch, 2 * unit), _scale_features(half, patch, unit))
    return torch.cat(scales, 1)


def _scale_features(luminance: Tensor, patch: int, stride: int) -> Tensor:
    """Compute the 18 features of each patch at one resolution, ``(P, 18)``.

    Two features describe the distribution that `fit` gives for the normalised luminance: the shape a, and
    (b_l + b_r) / 2. Four describe the distribution of its product with each of the four `NEIGHBOURS`: a, the mean, b_l
    and b_r.
    """
    maps = _with_products(normalised_luminance(luminance))
    means = F.avg_pool2d(moments(maps).flatten(0, 1), patch, stride)
    shape, left, right = fit(means.reshape(-1, len(maps), means[0].numel()).cpu().double())  # MPS has no float64
    mean = (right - left) * (torch.lgamma(2 / shape) - torch.lgamma(1 / shape)).exp()
    return torch.cat([shape, (left[:1] + right[:1]) / 2, mean[1:], left[1:], right[1:]]).T


def normalised_luminance(luminance: Tensor) -> Tensor:
    """Compute (I - mu) / (sigma + 1), mu and sigma the local mean and standard deviation.

    Args:
        luminance: ``(B, 1, H, W)`` in [0, 255].

    Returns:
        ``(B, 1, H, W)``; for photographs, the standard deviation is about 1.
    """
    mean, mean_square = (
        kornia.filters.gaussian_blur2d(values, (WINDOW, WINDOW), (DEVIATION, DEVIATION), "replicate")
        for values in (luminance, luminance.square())
    )
    deviation = (mean_square - mean.square()).clamp(min=0).sqrt()
    return (luminance - mean) / (deviation + 1)


def _with_products(normalised: Tensor) -> Tensor:
    """Return a map ``(1, 1, H, W)``, and its product with each of its `NEIGHBOURS`: ``(5, 1, H, W)``."""
    height, width = normalised.shape[-2:]
    padded = F.pad(normalised, (1, 1, 0, 1), mode="replicate")
    shifted = [padded[..., down : down + height, 1 + right : 1 + right + width] for down, right in NEIGHBOURS]
    return torch.cat([normalised, *(normalised * neighbour for neighbour in shifted)])


def moments(values: Tensor) -> Tensor:
    """Return the quantities whose means `fit` takes, ``(5, ...)``.

    They are x < 0 (1 or 0), x > 0 (1 or 0), x^2 where x < 0 (otherwise 0), x^2 where x > 0 (otherwise 0), and abs(x).
    """
    negative, positive, square = (values < 0).to(values), (values > 0).to(values), values.square()
    return torch.stack([negative, positive, square * negative, square * positive, values.abs()])


def fit(means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fit asymmetric generalised Gaussian distributions by moment matching (Lasmar, Stitou, Berthoumieu 2009).

    The density is proportional to exp(-(-x / b_l)^a) for x < 0 and to exp(-(x / b_r)^a) for x > 0.

    Args:
        means: means of `moments` over the samples, ``(5, ...)``.

    Returns:
        Shape a (one of `SHAPES`), left scale b_l and right scale b_r, each ``(...)``.
    """
    tiny = 1e-12
    negative, positive, left_square, right_square, magnitude = means
    left, right = (left_square / negative.clamp(min=tiny)).sqrt(), (right_square / positive.clamp(min=tiny)).sqrt()
    skew = left / right.clamp(min=tiny**0.5)
    ratio = magnitude.square() / (left_square + right_square).clamp(min=tiny)
    ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew.square() + 1).square()
    ratios = _magnitude_ratio(SHAPES)
    shape = SHAPES[torch.searchsorted(ratios, ratio.contiguous()).clamp(max=len(SHAPES) - 1)]
    scale = ((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2).exp()
    return shape, left * scale, right * scale


def _magnitude_ratio(shape: Tensor) -> Tensor:
    """E[abs(x)]^2 / E[x^2] of generalised Gaussian distributions, which increases with the shape."""
    return (2 * torch.lgamma(2 / shape) - torch.lgamma(1 / shape) - torch.lgamma(3 / shape)).exp()


def distance(first: Tensor, second: Tensor) -> float:
    """Compute sqrt(d^T ((C_1 + C_2) / 2)^-1 d), d the difference of means and C the covariances of two samples.

    The inverse is a pseudo-inverse, see `ROUNDING`.

    Args:
        first, second: samples ``(P, D)`` and ``(Q, D)`` in float64, with at least two rows each.
    """
    difference = first.mean(0) - second.mean(0)
    covariance = (torch.cov(first.T) + torch.cov(second.T)) / 2
    squared = difference @ torch.linalg.pinv(covariance, atol=ROUNDING, hermitian=True) @ difference
    return float(squared.clamp(min=0).sqrt())
