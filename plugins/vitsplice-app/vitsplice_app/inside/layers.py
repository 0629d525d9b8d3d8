"""Components of every layer of one or two images, and the similarity of one patch to all others.

The component maps of all layers are files that are written once; similarities are computed when patch or layer change.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vitsplice.errors import UserError
from vitsplice_app.backbones import shared_backbones
from vitsplice_app.images import NO_IMAGE

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from vitsplice.analysis.local_features import LocalFeatures
    from vitsplice.contracts import Features
    from vitsplice_app.workspace import Workspace

SHORTER_SIDE = 448
"""Maximum shorter side in pixels of the images that the tab shows."""

BACKBONE_FACET = "the backbone's own"
"""Choice of the backbone's default facet for structure."""

Patch = tuple[int, int]
"""Row and column of a patch of the first image."""


@dataclass(frozen=True)
class LayerView:
    """Features and component maps of one or two images, as the tab shows them.

    Args:
        features: features of all layers.
        images: the images, at the size that the tab shows, ``(1, 3, H, W)``.
        maps: paths of the map of components of each image, by the number of the layer from 0.
        captions: caption of each layer.
        folder: folder of the maps.
    """

    features: LocalFeatures = field(repr=False)
    images: tuple[Tensor, ...] = field(repr=False)
    maps: tuple[tuple[str, ...], ...]
    captions: tuple[str, ...]
    folder: Path

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patches of the first image at the last layer."""
        return self._grid(len(self.captions) - 1)

    def patch_at(self, x: float, y: float) -> Patch:
        """Return the patch, on the grid of the last layer, at a point of the first image as it is shown, in pixels."""
        from vitsplice.analysis.local_features import patch_at

        return patch_at((x, y), self.images[0], self.grid)

    def similarity(self, layer: int, patch: Patch) -> list[Image]:
        """Draw the similarity of a patch of the first image to the patches of each image.

        Args:
            layer: number of the layer, from 0.
            patch: patch on the grid of the last layer; a CNN has finer grids at other layers.
        """
        from vitsplice.analysis.local_features import heat_map, patch_at, similarity_map
        from vitsplice.images import to_pil

        features = self._features(layer)
        rows, columns = self.grid
        height, width = self.images[0].shape[-2:]
        centre = ((patch[1] + 0.5) * width / columns, (patch[0] + 0.5) * height / rows)
        query = patch_at(centre, self.images[0], self._grid(layer))
        return [
            to_pil(heat_map(similarity_map(features[0], query, other), image, patch=None if number else query))
            for number, (other, image) in enumerate(zip(features, self.images, strict=True))
        ]

    def _features(self, layer: int) -> tuple[Features, ...]:
        return [*self.features.features.values()][layer]

    def _grid(self, layer: int) -> tuple[int, int]:
        return self._features(layer)[0].grid or (1, 1)


def compute(images: Sequence[str | None], backbone: str, facet: str, size: int, workspace: Workspace) -> LayerView:
    """Compute the components of all layers, jointly over the images, and write a file for each layer and image.

    Args:
        images: paths of the images; None for those that are not given.
        backbone: name of the backbone.
        facet: facet, or `BACKBONE_FACET`.
        size: shorter side of the backbone's input, in pixels.
        workspace: temporary folder.

    Raises:
        UserError: if there is no image; see `vitsplice.analysis.local_features.local_features`.
    """
    from vitsplice.analysis.local_features import local_features
    from vitsplice.analysis.pca import component_maps
    from vitsplice.images.transforms import shrink_to

    if not (given := [image for image in images if image]):
        raise UserError(NO_IMAGE)
    network, _ = shared_backbones().named(backbone)
    features = local_features(given, backbone=network, facet=None if facet == BACKBONE_FACET else facet, size=size)
    shown = [shrink_to(image.pixels, SHORTER_SIDE) for image in features.images]
    components = component_maps(features)
    folder = workspace.files / f"layers-{secrets.token_hex(8)}"
    folder.mkdir()
    maps = [
        tuple(_write(folder, f"{number}-{n}", components.upsampled(layer, n, SHORTER_SIDE)) for n in range(len(given)))
        for number, layer in enumerate(components.maps)
    ]
    captions = tuple(map(components.caption, components.maps))
    return LayerView(features, tuple(shown), tuple(maps), captions, folder)


def remove_files(view: LayerView | None) -> None:
    """Remove the maps of a view that is no longer shown, if there is one."""
    if view:
        shutil.rmtree(view.folder, ignore_errors=True)


def _write(folder: Path, name: str, pixels: Tensor) -> str:
    """Write an image as a JPEG file, in a tenth of the time of PNG; return its path."""
    from vitsplice.images import to_pil

    path = folder / f"{name}.jpg"
    to_pil(pixels).save(path, quality=92)
    return str(path)
