"""Images from the browser. Gradio stores the uploaded files; `vitsplice.images` reads them, with its limits."""

from __future__ import annotations

import io
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from vitsplice.images import check_image_file
from vitsplice_app.errors import guarded
from vitsplice_app.workspace import Workspace


def image_input(label: str, **settings: Any) -> gr.Image:
    """Create an input for an image: by drop, paste or file.

    Its value is the path of the uploaded file, which nothing has read: give it to a function of vitsplice, whose errors
    `vitsplice_app.errors.guarded` shows.

    Args:
        label: label, also for screen readers.
        settings: other arguments of ``gr.Image``.
    """
    image = gr.Image(label=label, type="filepath", sources=["upload", "clipboard"], **settings)
    image.preprocess = _path  # type: ignore[method-assign]
    return image


def check_uploads(card: gr.HTML, *images: gr.Image) -> None:
    """Show an error as soon as an uploaded file is not an image that vitsplice reads.

    Args:
        card: card of the tab, see `vitsplice_app.errors.error_card`.
        images: inputs, see `image_input`.
    """
    for image in images:
        image.upload(guarded(card, check_image_file), image, card, show_progress="hidden")


def mask_input(label: str, **settings: Any) -> gr.ImageEditor:
    """Create an editor in which a mask is painted, white, over an image.

    Its value is the encoded image of the painted layer, which nothing has read, or None; see `painted_mask`.

    Args:
        label: label, also for screen readers.
        settings: other arguments of ``gr.ImageEditor``.
    """
    brush = gr.Brush(colors=["#ffffff"], color_mode="fixed")
    editor = gr.ImageEditor(label=label, sources=(), transforms=(), layers=False, brush=brush, **settings)
    editor.preprocess = partial(_layer, editor)  # type: ignore[method-assign]
    return editor


def painted_mask(layer: bytes | None, image: str | Path) -> bytes | None:
    """Return a mask as PNG, as large as its image, from the painted layer of an editor; None if nothing is painted.

    Raises:
        ImageError: if the layer or the image cannot be read.
    """
    from PIL import Image

    from vitsplice.errors import ImageError
    from vitsplice.images import encode_png, from_pil, is_black, read, read_mask, to_pil

    if layer is None:
        return None
    try:
        opened = Image.open(io.BytesIO(layer))
    except (OSError, Image.DecompressionBombError) as error:
        raise ImageError(f"the painted mask cannot be read: {error}") from error
    mask = read_mask(opened).pixels
    if is_black(mask):
        return None
    height, width = read(image).pixels.shape[-2:]
    return encode_png(from_pil(to_pil(mask).resize((width, height))))


def _path(payload: Any) -> str | None:
    """Return the path of an uploaded file; Gradio would open the file, and fail outside of the handler."""
    return None if payload is None else payload.path


def _layer(editor: gr.ImageEditor, payload: Any) -> bytes | None:
    """Return the encoded image of an editor's only layer, which the browser has sent before, or as a file."""
    if payload is None:
        return None
    if payload.id is not None:
        blobs = editor.blob_storage.pop(payload.id, None)
        return next(iter(blobs.layers), None) if blobs else None
    return Path(payload.layers[0].path).read_bytes() if payload.layers else None


def packaged_pairs(workspace: Workspace) -> list[list[str]]:
    """Copy the packaged pairs to where the browser can fetch them; return the paths (structure, appearance) of each."""
    from vitsplice.images import EXAMPLE_PAIRS, example

    folder = workspace.files / "packaged"
    folder.mkdir(exist_ok=True)
    return [[str(shutil.copy(path, folder)) for path in example(name)] for name in EXAMPLE_PAIRS]
