"""Matches of two images, as the page that shows them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from vitsplice.errors import UserError
from vitsplice_app.backbones import shared_backbones

if TYPE_CHECKING:
    from vitsplice.analysis.correspondence import DescriptionCache, ImageCorrespondence
    from vitsplice.contracts import BackboneInfo

TOGETHER = "several together"
"""Choice of the facet: the features that match best together."""


@cache
def shared_descriptions() -> DescriptionCache:
    """Return the descriptions of recent images in this process. Only one event at a time may use them."""
    from vitsplice.analysis.correspondence import description_cache

    return description_cache()


def backbone_info(backbone: str) -> BackboneInfo:
    """Return the info of a backbone, loading it if it is not cached. Raises as `vitsplice.load_backbone`."""
    return shared_backbones().named(backbone)[0].info


def match(
    images: tuple[str | None, str | None], backbone: str, facet: str, layer: int | None, grid: int
) -> ImageCorrespondence:
    """Match two images.

    Args:
        images: paths of the images; None if one is not given.
        backbone: name of the backbone.
        facet: facet, or `TOGETHER`.
        layer: layer of the facet; it has no effect with `TOGETHER`.
        grid: number of patches per side.

    Raises:
        UserError: if an image is not given; see `vitsplice.analysis.correspondence.match_images`.
    """
    from vitsplice.analysis.correspondence import match_images

    first, second = images
    if not (first and second):
        raise UserError("two images are matched; drop, paste or choose both, or take an example")
    network, substitution = shared_backbones().named(backbone)
    chosen: dict[str, Any] = {} if facet == TOGETHER else {"facet": facet, "layer": layer}
    result = match_images(first, second, backbone=network, grid=grid, cache=shared_descriptions(), **chosen)
    return replace(result, notes=(str(substitution),)) if substitution else result


def viewer_html(result: ImageCorrespondence) -> str:
    """Format a correspondence as a frame with the viewer, below its notes."""
    notes = "".join(f"<p>Note: {escape(note)}</p>" for note in result.notes)
    return notes + result.viewer().frame()
