"""Principal components of one or two images at every layer, and the similarity of one patch to all patches.

The component maps of all layers are written to files once; the similarities are computed whenever the user chooses
another patch or layer.
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
    from vitsplice.analysis.pca import ComponentMaps
    from vitsplice.contracts import Features
    from vitsplice_app.workspace import Workspace

SHORTER_SIDE = 448
"""Maximum shorter side in pixels of the images that the tab shows."""

BACKBONE_FACET = "the backbone's own"
"""Choice that stands for the backbone's default facet for structure."""

Patch = tuple[int, int]
"""Row and column, from 0, of a patch of the first image."""


@dataclass(frozen=True)
class LayerView:
    """Features and component maps of one or two images, as the tab shows them.

    Args:
        features: features of each image at all layers.
        images: the images, at the size at which the tab shows them, ``(1, 3, H, W)``.
        maps: path of each component map; ``maps[layer][image]``, both numbered from 0.
        captions: caption of each layer, from the first.
        folder: folder of the files of ``maps``.
    """

    features: LocalFeatures = field(repr=False)
    images: tuple[Tensor, ...] = field(repr=False)
    maps: tuple[tuple[str, ...], ...]
    captions: tuple[str, ...]
    folder: Path

    @property
    def grid(self) -> tuple[int, int]:
        """Number of rows and columns of patches of the first image at the last layer."""
        return self._grid(len(self.captions) - 1)

    def patch_at(self, x: float, y: float) -> Patch:
        """Return the patch at a point of the first image.

        Args:
            x, y: the point in pixels of ``images[0]``, x to the right, y down.

        Returns:
            The patch, on the grid of the last layer.
        """
        from vitsplice.analysis.local_features import patch_at

        return patch_at((x, y), self.images[0], self.grid)

    def similarity(self, layer: int, patch: Patch) -> list[Image]:
        """Draw the similarity of a patch of the first image to the patches of each image, and outline that patch.

        Args:
            layer: number of the layer, from 0.
            patch: patch on the grid of the last layer. Earlier layers of a CNN have finer grids; there, the patch at
                the centre of ``patch`` is used.

        Returns:
            One heat map for each image.
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
    """Compute the components of each layer, jointly over the images, and write a file for each layer and image.

    Args:
        images: paths of one or two images; None is skipped.
        backbone: name of the backbone.
        facet: facet, or `BACKBONE_FACET`.
        size: shorter side of the backbone's input, in pixels.
        workspace: temporary folder of the server.

    Raises:
        UserError: if there is no image; see also `vitsplice.analysis.local_features.local_features`.
        UnknownName, WeightsUnavailable, WeightsRejected: if the backbone is unknown or unavailable.
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
    try:
        maps = _write_maps(components, len(given), folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    captions = tuple(map(components.caption, components.maps))
    return LayerView(features, tuple(shown), maps, captions, folder)


def remove_files(view: LayerView | None) -> None:
    """Remove the files of a view that is no longer shown; None is ignored."""
    if view:
        shutil.rmtree(view.folder, ignore_errors=True)


def _write_maps(components: ComponentMaps, image_count: int, folder: Path) -> tuple[tuple[str, ...], ...]:
    """Write a file for each layer and image into a folder; return the paths, see `LayerView`."""
    return tuple(
        tuple(
            _write(folder, f"{number}-{image}", components.upsampled(layer, image, SHORTER_SIDE))
            for image in range(image_count)
        )
        for number, layer in enumerate(components.maps)
    )


def _write(folder: Path, name: str, pixels: Tensor) -> str:
    """Write an image as a JPEG file, which takes a tenth of the time of a PNG file; return the path of the file."""
    from vitsplice.images import to_pil

    path = folder / f"{name}.jpg"
    to_pil(pixels).save(path, quality=92)
    return str(path)
