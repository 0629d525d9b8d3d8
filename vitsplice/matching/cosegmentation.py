"""Co-segmentation of images: their common foreground, and its parts.

After Amir et al. 2021, "Deep ViT Features as Dense Visual Descriptors", section 4: the patches of all images are
clustered together by their features, such as keys. A patch votes for its cluster if the mean saliency of this cluster
in the patch's image is high. Clusters with a majority of votes are the foreground, whose patches are clustered once
more, by their descriptors, into parts.

Differences from the paper and its code: features are centred over each image, and descriptors over the foreground of
each image, so that a part has the same label in images of different colours. The threshold of saliency is computed for
each image. Patches vote instead of images, and a majority suffices instead of 75 %. Saliency is the attention of [CLS]
before the softmax; after the softmax, a few patches have most of the attention. For backbones without [CLS], queries or
keys, saliency is the distance from the border. Instead of a refinement by GrabCut, small holes are filled and small
specks are removed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from vitsplice.contracts import BackboneInfo, FeatureRequest, Features
from vitsplice.errors import UserError
from vitsplice.matching.clustering import elbow_kmeans, kmeans
from vitsplice.numerics import numerics

LARGEST_HOLE, LARGEST_SPECK = 0.04, 0.004
"""Holes in the foreground and specks of foreground up to these fractions of the image are removed."""


def attention_requests(info: BackboneInfo) -> tuple[FeatureRequest, ...]:
    """Request the query and key of the last layer, for `cls_attention`; () if the backbone lacks them or [CLS]."""
    required = ("query", "key")
    return tuple(map(FeatureRequest, required)) if {"cls", *required} <= set(info.facets) else ()


def cls_attention(query: Features, key: Features) -> Tensor:
    """Compute the attention of [CLS] to each patch before the softmax, summed over heads, ``(h, w)``.

    Args:
        query, key: of one layer of a transformer, ``(1, N, D)``; the first token is [CLS].
    """
    return torch.einsum("d,dhw->hw", query.values[0, 0], key.maps[0])


def border_distance(grid: tuple[int, int]) -> Tensor:
    """Compute the distance of each patch from the nearest border as a fraction of the sides, ``(h, w)``.

    This distance is the saliency for backbones without the features of `attention_requests`.
    """
    y, x = (torch.minimum(torch.arange(side), torch.arange(side).flip(0)) / side for side in grid)
    return torch.minimum(y[:, None], x[None])


@numerics(grad=False)
def common_foreground(
    features: Sequence[Features], saliency: Sequence[Tensor], clusters: int | None = None
) -> list[Tensor]:
    """Compute the foreground that images have in common.

    Args:
        features: local features of each image, such as keys, ``(1, N, D)`` with a grid, on the CPU.
        saliency: saliency of each patch of each image, ``(h, w)`` on any scale, on the CPU.
        clusters: number of clusters; None: see `elbow_kmeans`.

    Returns:
        The foreground of each image, ``(h, w)`` bool. It may be empty in some images.

    Raises:
        UserError: if the foreground is empty in all images.
    """
    points = torch.cat([_centred(image.patches[0]) for image in features])
    labels = elbow_kmeans(points) if clusters is None else kmeans(points, clusters)
    image_labels = torch.split(labels, [values.numel() for values in saliency])
    votes = torch.cat([_votes(own, values.flatten()) for own, values in zip(image_labels, saliency, strict=True)])
    is_foreground = torch.stack([votes[labels == c].float().mean() > 0.5 for c in range(int(labels.max()) + 1)])
    masks = [
        _cleaned(is_foreground[own].reshape(values.shape)) for own, values in zip(image_labels, saliency, strict=True)
    ]
    if not any(mask.any() for mask in masks):
        raise UserError(
            "the images have no common foreground: no cluster of patches is salient, or only small specks are; try "
            "another number of clusters, or crop the images"
        )
    return masks


def _centred(descriptors: Tensor) -> Tensor:
    return F.normalize(descriptors - descriptors.mean(0), dim=-1)


def _votes(labels: Tensor, saliency: Tensor) -> Tensor:
    """Return for each patch of an image whether the mean saliency of its cluster in this image is high, ``(N,)``.

    The threshold is the midpoint between the centres of the two clusters into which `kmeans` divides the saliency.
    """
    salient = kmeans(saliency[:, None], 2)
    threshold = torch.stack([saliency[salient == side].mean() for side in torch.unique(salient)]).mean()
    counts = torch.bincount(labels)
    means = torch.bincount(labels, weights=saliency) / counts.clamp(min=1)
    return torch.as_tensor(means[labels] > threshold)


def _cleaned(mask: Tensor) -> Tensor:
    """Fill small holes of a mask ``(h, w)``, then remove small specks."""
    holes = _small_components(~mask, LARGEST_HOLE)
    at_border = torch.cat([holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    filled = mask | ((holes > 0) & ~torch.isin(holes, at_border))  # a component that reaches the border is no hole
    return filled & (_small_components(filled, LARGEST_SPECK) == 0)


def _small_components(mask: Tensor, largest: float) -> Tensor:
    """Number the connected components of a mask ``(h, w)``; components above a fraction of the image are 0."""
    labels = torch.from_numpy(ndimage.label(mask.numpy())[0]).long()
    sizes = torch.bincount(labels.flatten())
    return labels * (sizes[labels] <= largest * mask.numel())


@numerics(grad=False)
def common_parts(descriptors: Sequence[Features], foreground: Sequence[Tensor], parts: int) -> list[Tensor]:
    """Divide the foreground of images into parts; a part has the same label in all images.

    Args:
        descriptors: descriptors of each image, ``(1, N, D)`` with a grid; see `vitsplice.matching.descriptors`.
        foreground: for each image ``(h', w')`` bool; resized to the grid of the descriptors if they differ.
        parts: number of parts.

    Returns:
        For each image ``(h, w)`` int64: 0 is the background, 1 the largest part, ``parts`` the smallest.
    """
    masks = [mask_on_grid(mask, image.grid) for image, mask in zip(descriptors, foreground, strict=True)]
    inside = [image.patches[0][mask.flatten()] for image, mask in zip(descriptors, masks, strict=True)]
    labels = kmeans(torch.cat(list(map(_centred, inside))), parts)
    by_size = torch.bincount(labels, minlength=parts).argsort(descending=True, stable=True)
    ranks = torch.split(by_size.argsort()[labels] + 1, [len(points) for points in inside])
    return [
        torch.zeros_like(mask, dtype=torch.int64).masked_scatter(mask, own)
        for mask, own in zip(masks, ranks, strict=True)
    ]


def mask_on_grid(mask: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """Resize a mask ``(h, w)`` bool to another patch grid; None: that of the mask.

    On a coarser grid, a patch is inside if at least half of the patches of the mask that it overlaps are inside; on a
    finer grid, if the mask, interpolated bilinearly, is at least 0.5 there. If no patch is inside by this rule, those
    with the greatest value are, unless the mask is empty.
    """
    size, values = grid or (mask.shape[0], mask.shape[1]), mask[None, None].float()
    coarser = size[0] * size[1] < mask.numel()
    share = F.adaptive_avg_pool2d(values, size) if coarser else F.interpolate(values, size=size, mode="bilinear")
    return ((share > 0) & (share >= share.max().clamp(max=0.5)))[0, 0]
