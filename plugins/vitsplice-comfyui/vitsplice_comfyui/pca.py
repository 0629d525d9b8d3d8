"""The node PCA: `vitsplice pca` for one layer."""

from __future__ import annotations

from typing import get_args

from comfy_api.latest import io
from torch import Tensor

from vitsplice.analysis.pca import Decompose, pca
from vitsplice.analysis.upsampling import Upsampling

from .backbones import DEFAULT, backbone_input, device, load, none_if_default
from .images import item_of, to_images
from .progress import NodeProgress

FACETS = ("key", "query", "value", "token", "map")
"""Facets with one feature for each patch. A ViT has the first four, a CNN the last."""


class PCANode(io.ComfyNode):
    """Show features of patches as colours."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return inputs and outputs."""
        return io.Schema(
            node_id="VitsplicePCA",
            display_name="PCA of features (vitsplice)",
            category="vitsplice",
            description="Three principal components of features as red, green and blue, shared by all images.",
            inputs=[
                io.Image.Input("images", tooltip="A colour means the same in all images."),
                backbone_input(),
                io.Combo.Input("facet", options=[DEFAULT, *FACETS], default=DEFAULT),
                io.Int.Input("layer", default=-1, min=-1000, max=1000, tooltip="0 is the first layer, -1 the last."),
                io.Combo.Input("decompose", options=list(get_args(Decompose)), default="self-similarity"),
                io.Combo.Input("upsampling", options=list(get_args(Upsampling)), default="edges"),
                io.Int.Input(
                    "size",
                    default=448,
                    min=16,
                    max=4096,
                    tooltip="Shorter side of the backbone's input in pixels.",
                ),
            ],
            outputs=[io.Image.Output("components", display_name="components")],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        backbone: str,
        facet: str,
        layer: int,
        decompose: Decompose,
        upsampling: Upsampling,
        size: int,
    ) -> io.NodeOutput:
        """Decompose the features of all images together."""
        sources = [item_of(images, index) for index in range(len(images))]
        progress, colours = NodeProgress(len(sources)), []
        maps = pca(
            sources, backbone=load(backbone), facet=none_if_default(facet), layer=layer, decompose=decompose,
            upsampling=upsampling, size=size, device=device(),
        )  # fmt: skip
        (layer_from_end,) = maps.maps
        for index in range(len(sources)):
            colours.append(maps.upsampled(layer_from_end, index))
            progress.report(index)
        return io.NodeOutput(to_images(colours))
