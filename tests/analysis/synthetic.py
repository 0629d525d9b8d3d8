"""Comparisons with known numbers: of any backbones, layers and images."""

import numpy as np
import torch

from vitsplice.analysis import transforms
from vitsplice.analysis.compare import BackboneComparison
from vitsplice.analysis.comparison import KINDS, ROLES, Agreement, Row, places_of
from vitsplice.contracts import BackboneInfo, FeatureRequest


def info(name, layers=3, facets=("key", "cls"), source="a hub"):
    return BackboneInfo(
        name=name, model="a model", facets=facets, layers=layers, structure=FeatureRequest(facets[0]),
        appearance=FeatureRequest(facets[1]), stride=4, size_multiple=8, min_size=8, fixed_size=None, mean=(0, 0, 0),
        std=(1, 1, 1), cls_normalised=None, parameters=0, licence="none", source=source, sha256=f"sha of {name}",
    )  # fmt: skip


def comparison(infos, selectivity, images=20, spread=0.3):
    """Changes of structure change the structure feature so many times as much as changes of appearance.

    Args:
        infos: of the backbones.
        selectivity: of each backbone; equal at all layers.
        images: how many.
        spread: standard deviation over images of the logarithm.
    """
    rng, names, rows = np.random.default_rng(0), [f"image {n}" for n in range(images)], []
    for one in infos:
        for layer in one.every_layer:
            size = selectivity[one.name] * np.exp(rng.normal(0, spread, images))
            for role in ROLES:
                for change, kind in KINDS.items():
                    values = 0.1 * (size if kind == role else np.ones(images))
                    facet = one.default_request(role).facet
                    rows += [
                        Row(one.name, facet, layer, f"{role} change", change, image, float(value))
                        for image, value in zip(names, values, strict=True)
                    ]
            for warp in transforms.WARPS:
                rows += [Row(one.name, one.structure.facet, layer, "pck", warp, image, 0.5) for image in names]
    found = {one.name: one for one in infos}
    total = len(places_of(found))
    agreed = Agreement(torch.full((total, total), 0.5), torch.full((total, total), 0.02), images)
    return BackboneComparison(found, tuple(names), tuple(rows), agreed)
