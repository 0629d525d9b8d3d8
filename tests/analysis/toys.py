"""Toy backbones whose features are a simple function of the pixels."""

import torch
import torch.nn.functional as F

from vitsplice.contracts import BackboneInfo, FeatureRequest, Features


class Toy(torch.nn.Module):
    """Two layers, with patches of 8 and of 4 pixels; features are means of a function of the image."""

    def __init__(self, function, name="toy", source="a formula"):
        super().__init__()
        self.function = function
        self.info = BackboneInfo(
            name=name, model="toy", facets=("map", "pooled"), layers=2, structure=FeatureRequest("map"),
            appearance=FeatureRequest("pooled"), stride=4, size_multiple=8, min_size=8, fixed_size=None, mean=(0, 0, 0),
            std=(1, 1, 1), cls_normalised=None, parameters=0, licence="none", source=source, sha256=f"sha of {name}",
        )  # fmt: skip

    def forward(self, images, requests):
        features = {}
        for request in requests:
            maps = F.avg_pool2d(self.function(images), {-2: 8, -1: 4}[request.layer])
            if request.facet == "pooled":
                features[request] = Features(maps.mean((2, 3)))
            else:
                features[request] = Features(maps.flatten(2).transpose(1, 2), (maps.shape[2], maps.shape[3]))
        return features


def luma(images):
    """Luma and its differences, so that patches can be distinguished without colours."""
    weights = torch.tensor([0.2989, 0.587, 0.114]).reshape(1, 3, 1, 1)
    grey = (images * weights).sum(1, keepdim=True) / weights.sum()
    return torch.cat([grey, F.pad(grey.diff(dim=2), (0, 0, 0, 1)), F.pad(grey.diff(dim=3), (0, 1))], 1)


def colour(images):
    return images


def ones(images):
    return torch.ones_like(images)
