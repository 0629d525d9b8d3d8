"""Matches of two images."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from vitsplice.errors import UserError
from vitsplice_app.backbones import shared_backbones

if TYPE_CHECKING:
    from vitsplice.analysis.correspondence import DescriptionCache, ImageCorrespondence

TOGETHER = "several together"
"""Choice, instead of a facet, that matches by all features of `vitsplice.matching.descriptor_requests` together."""


@cache
def shared_descriptions() -> DescriptionCache:
    """Return the process's cache of the descriptions of recent images. Only one event at a time may use the cache."""
    from vitsplice.analysis.correspondence import description_cache

    return description_cache()


def match(
    images: tuple[str | None, str | None], backbone: str, facet: str, layer: int | None, grid: int
) -> ImageCorrespondence:
    """Match two images.

    Args:
        images: path of each image; None if the image is not given.
        backbone: name of the backbone.
        facet: facet, or `TOGETHER`.
        layer: layer of the facet: 0 is the first, -1 the last; it has no effect with `TOGETHER`.
        grid: each image is resized to about ``grid * grid`` patches.

    Raises:
        UserError: if an image is not given; see also `vitsplice.analysis.correspondence.match_images`.
        WeightsUnavailable: if the weights of the backbone are unavailable; there is no fallback.
    """
    from vitsplice.analysis.correspondence import match_images

    first, second = images
    if not (first and second):
        raise UserError("two images are required; drop, paste or choose both, or take an example")
    network, _ = shared_backbones().named(backbone)
    features: dict[str, Any] = {} if facet == TOGETHER else {"facet": facet, "layer": layer}
    return match_images(first, second, backbone=network, grid=grid, cache=shared_descriptions(), **features)
