"""Page of two images in which a patch of either can be selected, to see its similarities and matches in the other.

The page is one HTML file that needs no server. It stores 8-bit vectors whose dot products approximate the similarities
of all pairs of patches (`vitsplice.matching.guide.factorise`): on photographs, the RMS error is 0.002, and the maximum
0.01. The best matches of each patch are determined by the exact similarities.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vitsplice.analysis.local_features import COLOUR_MAP
from vitsplice.analysis.pca import principal_components
from vitsplice.contracts import Features
from vitsplice.images import to_uint8
from vitsplice.matching import Correspondence, most_similar_patches
from vitsplice.matching.guide import factorise
from vitsplice.numerics import numerics
from vitsplice.support.page import data_uri, embedded
from vitsplice.support.script_page import render_script_page
from vitsplice.text import printable

RANK = 128
"""Maximum dimension of the vectors that approximate the similarities."""

NEAREST = 10
"""Maximum number of matches of a patch in the page."""

IMAGE_SIDE = 1000
"""Maximum length of the longer side of an image in the page, in pixels."""


@dataclass(frozen=True, eq=False)
class MatchViewer:
    """The page of one correspondence; displayed in a notebook.

    Args:
        images: both images, ``(1, 3, H, W)`` in [0, 1].
        names: names of the images.
        correspondence: the correspondence of the ``N`` patches of the first image with the ``M`` patches of the second.
        warped: colour of each patch of the first image, taken from its matches, ``(N, 3)`` in [0, 1].
        record: content of ``matches.json``; the page offers it as a file, and its matches as CSV.
        lead: sentence below the title.
    """

    images: tuple[Tensor, Tensor] = field(repr=False)
    names: tuple[str, str]
    correspondence: Correspondence
    warped: Tensor = field(repr=False)
    record: Mapping[str, Any] = field(repr=False)
    lead: str

    @property
    def title(self) -> str:
        """Title of the page."""
        return f"Matches of {' and '.join(map(printable, self.names))}"

    def html(self) -> str:
        """Return the page. Viewers with equal arguments return the same bytes."""
        data = self._data()
        return render_script_page("vitsplice.analysis", "matches", title=self.title, lead=self.lead, data=data)

    def frame(self) -> str:
        """Return an element that shows the page in another page; the element becomes as high as the page."""
        return embedded(self.html(), self.title, "46rem")

    def _repr_html_(self) -> str:
        return self.frame()

    @numerics(grad=False)
    def _data(self) -> dict[str, Any]:
        """Return the data for the page; arrays are little-endian bytes in base64, row by row."""
        similarities = self.correspondence.similarity
        grids = (self.correspondence.grid, self.correspondence.other_grid)
        vectors = factorise(similarities, RANK)
        integers, scales = zip(*map(_quantised, vectors), strict=True)
        features = [Features(values[None], grid) for values, grid in zip(vectors, grids, strict=True)]
        components, _ = principal_components(features, "features")
        count = min(NEAREST, *similarities.shape)
        images = []
        for side, values in enumerate((similarities, similarities.T)):
            height, width = self.images[side].shape[-2:]
            nearest = most_similar_patches(values, count)
            images.append(
                {
                    "name": printable(self.names[side]),
                    "height": height,
                    "width": width,
                    "grid": grids[side],
                    "uri": data_uri(self.images[side], IMAGE_SIDE),
                    "vectors": _base64(integers[side]),
                    "components": _base64(to_uint8(components[side].flatten(1).T)),
                    "nearest": _base64(nearest.to(torch.int32)),
                    "similarities": _base64(values.gather(1, nearest)),
                }
            )
        return {
            "images": images,
            "scales": (scales[0] * scales[1]).tolist(),
            "warped": _base64(to_uint8(self.warped)),
            "colours": _base64(to_uint8(_colour_map())),
            "nearest": count,
            "selected": _initial_patch(self.correspondence),
            "record": self.record,
        }


def _quantised(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors ``(N, D)`` as int8, and the scale of each dimension, ``(D,)``: vector = int8 * scale."""
    scales = vectors.abs().amax(0).clamp(min=1e-12) / 127
    return (vectors / scales).round().to(torch.int8), scales


def _base64(values: Tensor) -> str:
    array = values.contiguous().numpy()
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def _colour_map() -> Tensor:
    """Return the 256 colours of `COLOUR_MAP`, ``(256, 3)`` in [0, 1]."""
    from matplotlib import colormaps

    return torch.from_numpy(colormaps[COLOUR_MAP](range(256))[:, :3])


def _initial_patch(correspondence: Correspondence) -> int:
    """Return the patch of the first image that is selected initially: its mutual match is the most similar one."""
    return int(correspondence.similarity.amax(1).masked_fill(~correspondence.mutual, -1).argmax())
