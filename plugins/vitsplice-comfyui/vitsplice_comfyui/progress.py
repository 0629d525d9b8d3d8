"""Progress of a node in ComfyUI, and interruption by the user."""

from __future__ import annotations

from comfy import model_management
from comfy.utils import ProgressBar
from torch import Tensor

from vitsplice.images import to_pil

PREVIEW_SIDE = 512
"""Maximum longer side of a preview, in pixels."""


class NodeProgress:
    """The progress bar of a node that processes images one after another.

    Args:
        images: number of images.
    """

    def __init__(self, images: int) -> None:
        self._images = images
        self._bar = ProgressBar(images)

    def report(self, image: int, done: int = 1, parts: int = 1, preview: Tensor | None = None) -> None:
        """Show the progress.

        Args:
            image: index, from 0, of the image that is processed.
            done: number of parts of this image that are done.
            parts: number of parts of each image.
            preview: image ``(3, H, W)`` to show on the node; None: no preview is sent.

        Raises:
            comfy.model_management.InterruptProcessingException: if the user has interrupted the execution.
        """
        model_management.throw_exception_if_processing_interrupted()
        bar_preview = None if preview is None else ("JPEG", to_pil(preview), PREVIEW_SIDE)
        self._bar.update_absolute(image * parts + done, self._images * parts, bar_preview)
