"""Measures of the features of an image at every layer: changes by known transforms, correspondence and parts.

The structure feature is the self-similarity (Tumanyan et al. 2022, equation 2) of local features on a grid that all
backbones have in common; the appearance feature is global. Layers count from the end: -1 is the last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vitsplice.analysis.comparison_images import ComparedImage
from vitsplice.analysis.finite import finite_features
from vitsplice.analysis.transforms import WARPS, PointMap, grid_centres
from vitsplice.backbones.inputs import Resize, fitting_size
from vitsplice.contracts import Backbone, FeatureRequest, Features, Role
from vitsplice.errors import VitspliceError
from vitsplice.losses.functional import self_similarity
from vitsplice.matching import pck
from vitsplice.metrics.segments import CLUSTERS, cluster_patches, mean_iou
from vitsplice.numerics import numerics
from vitsplice.support import output_folder

GRID_SIDE = 16
"""Patches per side of the common grid."""

PCK_ALPHA = 0.1
"""Threshold of PCK, as a fraction of the side."""

FORMAT = 4
"""Format of stored encodings; an encoding of another format is computed again."""

MAX_SIMILARITIES = 2**24
"""Maximum number of similarities of patches in memory at a time."""

FLAT_KERNEL = 1e-6
"""RMS of a centred kernel below which the kernel counts as constant: float32 rounding of values up to 1 gives less."""

MAX_IN_MEMORY = 9
"""Maximum number of encodings of one backbone that `cached_reader` keeps in memory."""


def on_common_grid(features: Features) -> Tensor:
    """Resample local features ``(1, N, D)`` to ``GRID_SIDE * GRID_SIDE`` patches, ``(GRID_SIDE**2, D)``."""
    size = (GRID_SIDE, GRID_SIDE)
    maps = F.interpolate(features.maps, size=size, mode="bilinear", align_corners=False, antialias=True)
    return maps.flatten(2)[0].T


def structure_feature(features: Features) -> Tensor:
    """Compute the self-similarity of local features on the common grid, ``(GRID_SIDE**2, GRID_SIDE**2)``."""
    return self_similarity(on_common_grid(features)[None])[0]


def rms_difference(first: Tensor, second: Tensor) -> float:
    """Root mean square difference of two features."""
    return float((first.float() - second.float()).square().mean().sqrt())


def cka(kernels: Tensor) -> Tensor:
    """Centred kernel alignment of each pair of kernels (Kornblith et al. 2019, section 3).

    Args:
        kernels: self-similarities ``(M, N, N)`` of the same N patches.

    Returns:
        ``(M, M)`` in [0, 1]; 1 for kernels that are equal up to scale and offset, 0 if one of the two is constant
        (`FLAT_KERNEL`).
    """
    centred = kernels - kernels.mean(1, keepdim=True) - kernels.mean(2, keepdim=True) + kernels.mean((1, 2), True)
    vectors = centred.flatten(1)
    norms = vectors.norm(dim=1, keepdim=True)
    vectors = torch.where(norms < FLAT_KERNEL * kernels.shape[1], 0.0, vectors / norms.clamp(min=1e-12))
    return vectors @ vectors.T


def warp_pck(features: Features, warped: Features, source_of: PointMap, alpha: float = PCK_ALPHA) -> float:
    """Percentage of correct keypoints under a known warp, with every patch of the warped image as a keypoint.

    Each patch is matched with the most similar patch of the original image, by cosine similarity. Patches whose source
    lies outside of the original image are ignored.

    Args:
        features, warped: local features of the image and of its warp, ``(1, N, D)``.
        source_of: the warp, as a map of points.
        alpha: maximum distance of a correct match, as a fraction of the side.

    Returns:
        Fraction in [0, 1]; NaN if all patches are ignored.
    """
    centres, warped_centres = (grid_centres(*(f.grid or (1, 1))) for f in (features, warped))
    true_points = source_of(warped_centres)
    inside = ((true_points >= 0) & (true_points <= 1)).all(1)
    descriptors, queries = (F.normalize(f.patches[0], dim=-1) for f in (features, warped))
    chunks = torch.split(queries[inside.to(queries.device)], max(1, MAX_SIMILARITIES // len(descriptors)))
    nearest = torch.cat([(chunk @ descriptors.T).argmax(1) for chunk in chunks]).cpu()
    return pck.pck(pck.point_errors(centres[nearest], true_points[inside], (1, 1), 1), alpha)


def _labels_on_common_grid(labels: Tensor) -> Tensor:
    """Return the label of each patch of the common grid, ``(GRID_SIDE**2,)``."""
    return F.interpolate(labels[None, None].float(), size=(GRID_SIDE, GRID_SIDE), mode="nearest").flatten().long()


def has_parts(labels: Tensor) -> bool:
    """Return whether labels ``(H, W)`` have at least two different values on the common grid."""
    return len(torch.unique(_labels_on_common_grid(labels))) > 1


def part_iou(features: Features, labels: Tensor) -> float:
    """Mean IoU of clusters of features with labelled parts of the image (compare Amir et al. 2021, co-segmentation).

    The principal components of the features are clustered by k-means; each cluster gets its most frequent label.

    Args:
        features: local features of the image, ``(1, N, D)``.
        labels: integer label of each pixel, ``(H, W)``.

    Returns:
        Mean over the labels on the common grid, in [0, 1]; 1 for a single label (`has_parts`).
    """
    clusters = cluster_patches(on_common_grid(features).cpu())
    true = _labels_on_common_grid(labels)
    values = torch.unique(true)
    counts = [[((clusters == cluster) & (true == value)).sum() for value in values] for cluster in range(CLUSTERS)]
    return mean_iou(values[torch.tensor(counts).argmax(1)][clusters], true)


@dataclass(frozen=True)
class ImageEncoding:
    """Measures of one backbone on one image, and the features that are compared with those of other images.

    Args:
        changes: (role, transform, layer) -> `rms_difference` of the feature of the role before and after the transform.
        pck: (warp, layer) -> `warp_pck`.
        part_iou: layer -> `part_iou`; empty without labels, or if they have no parts (`has_parts`).
        structure: structure feature of each layer, the first layer first, ``(L, N, N)``.
        appearance: appearance feature of each layer, the first layer first, ``(D,)`` each.
    """

    changes: Mapping[tuple[str, str, int], float]
    pck: Mapping[tuple[str, int], float]
    part_iou: Mapping[int, float]
    structure: Tensor = field(repr=False)
    appearance: tuple[Tensor, ...] = field(repr=False)

    def features(self, role: Role) -> list[Tensor]:
        """Features of a role at each layer, the first layer first."""
        return list(self.structure if role == "structure" else self.appearance)


EncodingReader = Callable[[str], ImageEncoding]
"""Function that returns the encoding of an image, given the name of the image."""


@dataclass(frozen=True)
class _LayerFeatures:
    local: Features
    structure: Tensor
    appearance: Tensor


@numerics(grad=False)
def encode_image(image: ComparedImage, backbone: Backbone, device: torch.device) -> ImageEncoding:
    """Compute the encoding of an image (on the CPU) by a backbone (on the device).

    Raises:
        VitspliceError: if a feature is not finite.
    """
    original = _features(image.pixels, backbone, device, image.name)
    changes: dict[tuple[str, str, int], float] = {}
    pck_of_warps: dict[tuple[str, int], float] = {}
    for name, pixels in image.transformed.items():
        transformed = _features(pixels, backbone, device, image.name)
        for layer, (before, after) in enumerate(zip(original, transformed, strict=True), -len(original)):
            changes["structure", name, layer] = rms_difference(before.structure, after.structure)
            changes["appearance", name, layer] = rms_difference(before.appearance, after.appearance)
            if name in WARPS:
                pck_of_warps[name, layer] = warp_pck(before.local, after.local, WARPS[name])
    parts: dict[int, float] = {}
    if image.labels is not None and has_parts(image.labels):
        parts = {n: part_iou(f.local, image.labels) for n, f in enumerate(original, -len(original))}
    structure = torch.stack([features.structure for features in original])
    return ImageEncoding(changes, pck_of_warps, parts, structure, tuple(f.appearance for f in original))


def _features(image: Tensor, backbone: Backbone, device: torch.device, name: str) -> list[_LayerFeatures]:
    """Compute the features of all layers at the image's size, or the nearest size that the backbone accepts."""
    info = backbone.info
    facets = (info.structure.facet, info.appearance.facet)
    requests = [(FeatureRequest(facets[0], layer), FeatureRequest(facets[1], layer)) for layer in info.every_layer]
    size = fitting_size(info, image.shape[-2], image.shape[-1])
    inputs = Resize().to(image.to(device), size)
    features = finite_features(backbone, inputs, [request for pair in requests for request in pair], name)
    return [
        _LayerFeatures(features[local], structure_feature(features[local]).cpu(), features[appearance].values[0].cpu())
        for local, appearance in requests
    ]


def write_encoding(path: Path, encoding: ImageEncoding) -> None:
    """Store an encoding. Raises VitspliceError if it cannot be written."""
    measures = {
        "format": FORMAT,
        "changes": [[*key, value] for key, value in encoding.changes.items()],
        "pck": [[*key, value] for key, value in encoding.pck.items()],
        "part_iou": list(encoding.part_iou.items()),
    }
    tensors = {"structure": encoding.structure.half()}
    tensors |= {f"appearance.{number}": tensor for number, tensor in enumerate(encoding.appearance)}
    data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"measures": json.dumps(measures)})
    output_folder.write(path.parent, {path.name: data})


def read_encoding(path: Path) -> ImageEncoding | None:
    """Read a stored encoding; None if it is missing, corrupt or of another format."""
    try:
        with safe_open(path, "pt") as file:
            measures = json.loads((file.metadata() or {})["measures"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if measures["format"] != FORMAT:
            return None
        return ImageEncoding(
            {(role, transform, layer): value for role, transform, layer, value in measures["changes"]},
            {(warp, layer): value for warp, layer, value in measures["pck"]},
            dict(measures["part_iou"]),
            tensors.pop("structure"),
            tuple(tensors[f"appearance.{number}"] for number in range(len(tensors))),
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def cached_reader(files: Mapping[str, Path]) -> EncodingReader:
    """Return a function that reads an image's encoding from its file; at most `MAX_IN_MEMORY` stay in memory.

    The function raises VitspliceError if a file cannot be read.
    """

    @lru_cache(MAX_IN_MEMORY)
    def read(image: str) -> ImageEncoding:
        if (encoding := read_encoding(files[image])) is None:
            raise VitspliceError(f"{files[image]} cannot be read; run the same command again to recompute it")
        return encoding

    return read
