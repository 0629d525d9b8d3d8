"""Synthetic comparisons of backbones with known values."""

import numpy as np
import torch

from vitsplice.analysis.compare import BackboneComparison
from vitsplice.analysis.comparison import TRANSFORM_ROLES, LayerAgreement, Measure, all_layers
from vitsplice.analysis.transforms import WARPS
from vitsplice.contracts import ROLES, BackboneInfo, FeatureRequest


def info(name, layers=3, facets=("key", "cls"), source="a hub"):
    return BackboneInfo(
        name=name, model="a model", facets=facets, layers=layers, structure=FeatureRequest(facets[0]),
        appearance=FeatureRequest(facets[1]), stride=4, size_multiple=8, min_size=8, fixed_size=None, mean=(0, 0, 0),
        std=(1, 1, 1), cls_normalised=None, parameters=0, licence="none", source=source, sha256=f"sha of {name}",
    )  # fmt: skip


def comparison(infos, selectivity, images=20, spread=0.3):
    """Build a comparison with known selectivities of the structure feature.

    Args:
        infos: backbones.
        selectivity: selectivity of each backbone, equal at all layers.
        images: number of images.
        spread: standard deviation of the logarithm of the selectivity over the images.
    """
    rng, names, measures = np.random.default_rng(0), [f"image {n}" for n in range(images)], []
    for backbone in infos:
        for layer in backbone.every_layer:
            factors = selectivity[backbone.name] * np.exp(rng.normal(0, spread, images))
            for role in ROLES:
                facet = backbone.default_request(role).facet
                for transform, kind in TRANSFORM_ROLES.items():
                    values = 0.1 * (factors if kind == role else np.ones(images))
                    measures += [
                        Measure(backbone.name, facet, layer, f"{role} change", transform, image, float(value))
                        for image, value in zip(names, values, strict=True)
                    ]
            facet = backbone.structure.facet
            measures += [
                Measure(backbone.name, facet, layer, "pck", warp, image, 0.5) for warp in WARPS for image in names
            ]
    by_name = {backbone.name: backbone for backbone in infos}
    total = len(all_layers(by_name))
    agreement = LayerAgreement(*[torch.full((total, total), value) for value in (0.5, 0.48, 0.52)], images)
    return BackboneComparison(by_name, tuple(names), tuple(measures), agreement)
