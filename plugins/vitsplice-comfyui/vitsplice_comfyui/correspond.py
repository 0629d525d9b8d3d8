"""The node Correspond, which computes what `vitsplice correspond` does."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from vitsplice.analysis.correspondence import draw, match_images

from .backbones import backbone_input, device, load
from .images import batch_size, item_of, to_images, to_masks
from .progress import NodeProgress


class CorrespondNode(io.ComfyNode):
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
                io.Image.Input("second", tooltip="Image in which the matches are searched for."),
                backbone_input(),
                io.Int.Input("grid", default=40, min=2, max=128, tooltip="Each image has about grid x grid patches."),
                io.Float.Input(
                    "temperature",
                    default=0.02,
                    min=0.001,
                    max=1.0,
                    step=0.001,
                    tooltip="Temperature of the soft assignment. The lower, the more the best match dominates.",
                ),
                io.Float.Input(
                    "balance",
                    default=0.2,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="0: each match is independent; 1: patches of the second image are used about equally.",
                ),
                io.Int.Input("points", default=60, min=1, max=10_000, tooltip="Maximum number of matches to draw."),
            ],
            outputs=[
                io.Image.Output(
                    "matches",
                    display_name="matches",
                    tooltip="Both images, with lines between patches that are each other's best match.",
                ),
                io.Image.Output(
                    "warped",
                    display_name="warped",
                    tooltip="The first image's patches in the colours of the matching patches of the second image.",
                ),
                io.Mask.Output(
                    "confidence",
                    display_name="confidence",
                    tooltip="Confidence of the match of each patch of the first image, 0 to 1.",
                ),
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
        """Match the batches image by image; the image of a batch of one is matched with all images of the other."""
        network, count = load(backbone), batch_size(first=first, second=second)
        progress = NodeProgress(count)
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
