"""Masks that are painted in the browser."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr


def mask_input(label: str, **settings: Any) -> gr.ImageEditor:
    """Create an editor in which a mask is painted, white, over an image.

    Its value is the encoded image of the painted layer, not decoded yet, or None; see `painted_mask`.

    Args:
        label: label, also for screen readers.
        settings: other arguments of ``gr.ImageEditor``.
    """
    brush = gr.Brush(colors=["#ffffff"], color_mode="fixed")
    editor = gr.ImageEditor(label=label, sources=(), transforms=(), layers=False, brush=brush, **settings)
    editor.preprocess = partial(_layer, editor)  # type: ignore[method-assign, assignment]
    return editor


def painted_mask(layer: bytes | None, image: str | Path) -> bytes | None:
    """Return a mask as PNG, as large as its image, from the painted layer of an editor; None if nothing is painted.

    Raises:
        ImageError: if the layer or the image cannot be read.
    """
    from vitsplice.images import encode_png, from_pil, is_black, read, read_mask, to_pil
    from vitsplice.images.decode import read_header

    if layer is None:
        return None
    mask = read_mask(read_header(io.BytesIO(layer), "painted mask")).pixels
    if is_black(mask):
        return None
    height, width = read(image).pixels.shape[-2:]
    return encode_png(from_pil(to_pil(mask).resize((width, height))))


def _layer(editor: gr.ImageEditor, payload: Any) -> bytes | None:
    """Return the encoded image of an editor's only layer, sent by the browser in an earlier request, or as a file."""
    if payload is None:
        return None
    if payload.id is not None:
        blobs = editor.blob_storage.pop(payload.id, None)
        return next(iter(blobs.layers), None) if blobs else None
    return Path(payload.layers[0].path).read_bytes() if payload.layers else None
