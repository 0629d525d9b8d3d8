"""The node Correspond: `vitsplice correspond`."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from vitsplice.analysis.correspondence import draw, match_images

from .backbones import backbone_input, device, load
from .images import batch_size, item_of, to_images, to_masks
from .progress import Progress


class Correspond(io.ComfyNode):
    """Match the patches of two images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return inputs and outputs."""
        return io.Schema(
            node_id="VitspliceCorrespond",
            display_name="Correspond (vitsplice)",
            category="vitsplice",
            description="Semantic correspondence of the patches of two images.",
            inputs=[
                io.Image.Input("first", tooltip="Image whose patches are matched."),
                io.Image.Input("second", tooltip="Image in which their matches are searched."),
                backbone_input(),
                io.Int.Input("grid", default=40, min=2, max=128, tooltip="Patches per side, about."),
                io.Float.Input(
                    "temperature", default=0.02, min=0.001, max=1.0, step=0.001, tooltip="Lower: harder assignment."
                ),
                io.Float.Input(
                    "balance", default=0.2, min=0.0, max=1.0, step=0.05, tooltip="1: the second image is used evenly."
                ),
                io.Int.Input("points", default=60, min=1, max=10_000, tooltip="Maximum number of matches to draw."),
            ],
            outputs=[
                io.Image.Output("matches", display_name="matches", tooltip="Both images, a line for each match."),
                io.Image.Output("warped", display_name="warped", tooltip="Colours of the second image on the first."),
                io.Mask.Output("confidence", display_name="confidence", tooltip="Confidence of each patch."),
            ],
        )

    @classmethod
    def execute(
        cls,
        first: Tensor,
        second: Tensor,
        backbone: str,
        grid: int,
        temperature: float,
        balance: float,
        points: int,
    ) -> io.NodeOutput:
        """Match every pair of the batches."""
        network, count = load(backbone), batch_size(first=first, second=second)
        progress = Progress(count)
        drawings, warped, confidence = [], [], []
        for index in range(count):
            result = match_images(
                item_of(first, index), item_of(second, index), backbone=network, grid=grid, temperature=temperature,
                balance=balance, device=device(),
            )  # fmt: skip
            drawings.append(draw(result.matches(points), result.first, result.second))
            warped.append(result.warped_colours())
            confidence.append(result.confidence_map())
            progress.report(index)
        return io.NodeOutput(to_images(drawings), to_images(warped), to_masks(confidence))
