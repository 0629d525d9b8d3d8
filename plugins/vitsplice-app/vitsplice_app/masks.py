"""Masks that are painted in the browser."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from vitsplice.errors import ImageError


def mask_input(label: str, **settings: Any) -> gr.ImageEditor:
    """Create an editor in which the user paints a mask in white over an image.

    A handler receives the painted layer as an encoded image, or None (`painted_mask` makes a mask of it), and returns
    Gradio's dictionary with ``background``, ``layers`` and ``composite``. Most browsers cannot display TIFF, so a
    background that is a TIFF file is sent as PNG.

    Args:
        label: label, also for screen readers.
        settings: other arguments of ``gr.ImageEditor``.
    """
    brush = gr.Brush(colors=["#ffffff"], color_mode="fixed")
    editor = gr.ImageEditor(label=label, sources=(), transforms=(), layers=False, brush=brush, format="png", **settings)
    editor.preprocess = partial(_layer, editor)  # type: ignore[method-assign, assignment]
    editor.postprocess = partial(_postprocess, editor.postprocess)  # type: ignore[method-assign]
    return editor


def painted_mask(layer: bytes | None, image: str | Path) -> bytes | None:
    """Make a mask of the painted layer of an editor.

    Args:
        layer: encoded image of the layer (see `mask_input`), or None.
        image: path of the image that the mask is for.

    Returns:
        The mask as PNG, as large as the image; None if nothing is painted.

    Raises:
        ImageError: if the layer or the image cannot be read.
    """
    from vitsplice.images import encode_png, from_pil, is_black, read, read_mask, to_pil
    from vitsplice.images.decode import read_header

    if layer is None:
        return None
    mask = read_mask(read_header(io.BytesIO(layer), "painted mask"), "painted mask").pixels
    if is_black(mask):
        return None
    height, width = read(image).pixels.shape[-2:]
    return encode_png(from_pil(to_pil(mask).resize((width, height))))


def _layer(editor: gr.ImageEditor, payload: Any) -> bytes | None:
    """Return the encoded image of an editor's only layer, or None.

    The browser has sent the layer in an earlier request, or ``payload`` names its file.
    """
    if payload is None:
        return None
    if payload.id is not None:
        blobs = editor.blob_storage.pop(payload.id, None)
        return next(iter(blobs.layers), None) if blobs else None
    return Path(payload.layers[0].path).read_bytes() if payload.layers else None


def _postprocess(postprocess: Callable[[Any], Any], value: dict[str, Any] | None) -> Any:
    """Return Gradio's data for what a handler returns, with a TIFF background replaced by its decoded pixels.

    A TIFF that cannot be read is not replaced; `check_uploads` shows its error at the image input that it comes from.
    """
    from vitsplice.images import read, to_pil

    if value and str(value["background"]).lower().endswith((".tif", ".tiff")):
        with suppress(ImageError):
            value = value | {"background": to_pil(read(value["background"]).pixels)}
    return postprocess(value)
