"""Metrics that use features of the backbone that the user selected, or of CLIP."""

from __future__ import annotations

from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import GLOBAL_FACETS, Backbone, Case, FeatureRequest, Features, Metric, MetricContext
from vitsplice.errors import ConfigError
from vitsplice.images.transforms import resized, to_lab
from vitsplice.losses.functional import structure_loss
from vitsplice.matching import correspond

SIZE = 224
"""Shorter side of the backbone's input in pixels, except for `local_appearance`."""

CLIP = "openclip-vitb32"

GRID = 32
"""`local_appearance` matches images on grids of about ``GRID * GRID`` patches, with the aspect ratios of the images."""

PATCH = 8
"""Side in pixels of a patch in `colour_statistics`: the image is resized so that each patch of the grid has this side.

The matching resizes the images by itself, to suit the backbone's patch size."""


def structure_distance(context: MetricContext) -> Metric:
    """Build the metric: `structure_loss` of the `local_features` of output and structure image."""
    backbone = context.load(context.backbone)
    request = local_request(backbone)

    def value(case: Case) -> float:
        output, structure = (features.values for features in local_features(backbone, case, SIZE))
        return float(structure_loss(output, structure))

    return Metric(value, (backbone.info,), metric_parameters(backbone, request, SIZE))


def cls_similarity(context: MetricContext) -> Metric:
    """Build the metric: cosine of the global features of output and appearance image, each at its own aspect ratio."""
    backbone = context.load(context.backbone)
    return _cosine(backbone, backbone.info.appearance)


def clip_similarity(context: MetricContext) -> Metric:
    """Build the metric: cosine of CLIP's [CLS] tokens of output and appearance image.

    They are taken after the final norm, before the projection to CLIP's embedding. Needs the plugin vitsplice-openclip.
    """
    backbone = context.load(CLIP)
    return _cosine(backbone, backbone.info.appearance)


def _cosine(backbone: Backbone, request: FeatureRequest) -> Metric:
    def value(case: Case) -> float:
        output, appearance = (global_feature(backbone, request, image) for image in (case.output, case.appearance))
        return float(F.cosine_similarity(output, appearance).mean())

    return Metric(value, (backbone.info,), metric_parameters(backbone, request, SIZE))


def local_appearance(context: MetricContext) -> Metric:
    """Build the metric: distance of Lab mean and contrast between patches of the output and of the appearance image.

    Patches of structure and appearance image correspond where they are mutual nearest neighbours; the output takes no
    part in the matching. `colour_distance` compares the output at the location of each such structure patch with the
    corresponding appearance patch.
    """
    backbone = context.load(context.backbone)

    def value(case: Case) -> float:
        match = correspond(case.structure, case.appearance, backbone, grid=GRID)
        output = colour_statistics(case.output, match.grid)[match.mutual]
        appearance = colour_statistics(case.appearance, match.other_grid)[match.best[match.mutual]]
        return colour_distance(output, appearance)

    return Metric(value, (backbone.info,), {"grid": GRID, "patch_side": PATCH, "matches": "mutual"})


def colour_statistics(image: Tensor, grid: tuple[int, int]) -> Tensor:
    """For each patch of a grid, compute the means of L, a and b and the standard deviation of L, all divided by 100.

    Returns:
        ``(h * w, 4)``.
    """
    lab = to_lab(resized(image, (grid[0] * PATCH, grid[1] * PATCH)))
    mean = F.avg_pool2d(lab, PATCH)
    centred = lab[:, :1] - F.interpolate(mean[:, :1], scale_factor=PATCH, mode="nearest")
    deviation = F.avg_pool2d(centred.square(), PATCH).sqrt()
    return torch.cat([mean, deviation], 1).flatten(2)[0].T


def colour_distance(output: Tensor, target: Tensor) -> float:
    """Average over patches: the distance of their mean colours plus the absolute difference of their deviations.

    Args:
        output, target: `colour_statistics` of ``K`` patches each, ``(K, 4)``.
    """
    difference = output - target
    return float((difference[:, :3].norm(dim=1) + difference[:, 3].abs()).mean())


def local_request(backbone: Backbone) -> FeatureRequest:
    """Return the backbone's default request for structure. Raises ConfigError if that requests a global feature."""
    request = backbone.info.structure
    if request.facet in GLOBAL_FACETS:
        raise ConfigError(
            f"the default feature for structure of backbone '{backbone.info.name}', {request}, is not local"
        )
    return request


def local_features(backbone: Backbone, case: Case, size: int) -> list[Features]:
    """Compute local features of the output and the structure image, both at the structure image's resized size.

    Args:
        backbone: backbone with local features.
        case: images.
        size: shorter side of the backbone's input, in pixels.

    Returns:
        The features of the output, then those of the structure image.
    """
    request = local_request(backbone)
    resize = Resize(size)
    target = resize.target_size(case.structure.shape[-2], case.structure.shape[-1], backbone.info)
    return [backbone(resize.to(image, target), [request])[request] for image in (case.output, case.structure)]


def global_feature(backbone: Backbone, request: FeatureRequest, image: Tensor, size: int = SIZE) -> Tensor:
    """Compute a global feature ``(1, D)`` of an image ``(1, 3, H, W)`` at its own aspect ratio."""
    return backbone(Resize(size)(image, backbone.info), [request])[request].values


def metric_parameters(backbone: Backbone, request: FeatureRequest, size: int, **others: object) -> dict[str, object]:
    """Return the parameters that are recorded with a metric of features, and ``others``.

    ``block`` is the layer counted from 0, ``layer`` the same layer counted from the end.
    """
    return asdict(request) | {"block": backbone.info.block(request.layer), "shorter_side": size} | others
