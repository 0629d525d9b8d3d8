"""Images from the browser. Gradio stores the uploaded files; `vitsplice.images` reads them, and limits their size."""

from __future__ import annotations

import shutil
import threading
from functools import partial
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from vitsplice.images import EXAMPLE_PAIRS, example, read
from vitsplice_app.errors import guarded
from vitsplice_app.events import IMMEDIATE
from vitsplice_app.workspace import Workspace

NO_IMAGE = "there is no image; drop, paste or choose one, or take an example"
"""Message of the error for an input without an image."""

_CHECKING = threading.Lock()
"""Held while one image is decoded for a check: many large ones at once could exhaust the memory."""


def image_input(label: str, **settings: Any) -> gr.Image:
    """Create an input for an image: by drop, paste or file.

    The value of the input is None or the path of the uploaded file, which is not opened yet. Handlers pass it to a
    function of vitsplice, whose errors `vitsplice_app.errors.guarded` shows. Events may update only the value: for any
    other property Gradio would replace the component by a new one, whose own `preprocess` opens the file.

    Args:
        label: label, also for screen readers.
        settings: other arguments of ``gr.Image``.
    """
    image = gr.Image(label=label, type="filepath", sources=["upload", "clipboard"], buttons=[], **settings)
    image.preprocess = _path  # type: ignore[method-assign]
    return image


def files_input(label: str, *, multiple: bool = False) -> gr.File:
    """Create an input for image files; its value is a list of their paths, in the order shown, empty without files.

    Unlike `image_input` it takes little space, and can take several files, which the user can reorder. As for
    `image_input`, events may update only the value.

    Args:
        label: label, also for screen readers.
        multiple: whether the input takes several files; otherwise it takes one.
    """
    count: Literal["multiple", "single"] = "multiple" if multiple else "single"
    files = gr.File(label=label, file_count=count, height=140, allow_reordering=multiple, file_types=["image"])
    files.preprocess = _paths  # type: ignore[method-assign]
    return files


def image_inputs(workspace: Workspace, *labels: str, height: int = 240, **settings: Any) -> list[gr.Image]:
    """Create inputs for images, side by side, and below them buttons that fill the inputs with packaged images.

    Two inputs have a button for each packaged pair, one input has a button for each packaged image. Unlike
    ``gr.Examples``, the buttons change nothing but the values of the inputs (see `image_input`), and the keyboard can
    reach them.

    Args:
        workspace: temporary folder of the server.
        labels: label of each input, one or two.
        height: height of each input in pixels.
        settings: see `image_input`.
    """
    with gr.Row():
        images = [image_input(label, height=height, **settings) for label in labels]
    choices = packaged_pairs(workspace) if len(images) == 2 else [[path] for path in packaged_images(workspace)]
    with gr.Row(elem_classes="examples"):
        for paths in choices:
            names = " and ".join(Path(path).stem for path in paths)
            button = gr.Button(f"Example: {names}", icon=paths[0], size="sm", min_width=120)
            values = dict(zip(images, paths, strict=True))
            # A lambda would return the values of the last button.
            button.click(partial(dict, values), None, list(images), **IMMEDIATE)
    return images


def check_uploads(card: gr.HTML, *images: gr.Image | gr.File) -> None:
    """Check the images of all inputs whenever one changes, and show the error of the first that cannot be read.

    Args:
        card: card of the tab, see `vitsplice_app.errors.error_card`.
        images: inputs, see `image_input` and `files_input`.
    """
    changes = [image.change for image in images]  # one event for all, so that the latest check ends last
    gr.on(changes, guarded(card, check_images), list(images), card, trigger_mode="always_last", **IMMEDIATE)


def check_images(*values: str | Path | list[str] | None) -> None:
    """Decode the images of inputs. Raises the ImageError of `vitsplice.images.read` for the first unreadable one.

    Args:
        values: value of each input: a path, a list of paths, or None.
    """
    paths = [path for value in values for path in (value if isinstance(value, list) else [value]) if path]
    for path in paths:
        with _CHECKING:
            read(path)


def _path(payload: Any) -> str | None:
    """Return the path of an uploaded file. Gradio's own method would open the file, and fail outside of the handler."""
    return None if payload is None else payload.path


def _paths(payload: Any) -> list[str]:
    """Return the paths of the uploaded files, an empty list if there are none."""
    if payload is None:
        return []
    return [file.path for file in (payload.root if hasattr(payload, "root") else [payload])]


def packaged_images(workspace: Workspace) -> list[str]:
    """Copy the packaged images to where the browser can fetch them; return their paths."""
    return [path for pair in packaged_pairs(workspace) for path in pair]


def packaged_pairs(workspace: Workspace) -> list[list[str]]:
    """Copy the packaged pairs to where the browser can fetch them; return the paths (structure, appearance) of each."""
    folder = workspace.files / "packaged"
    folder.mkdir(exist_ok=True)
    pairs = [example(name) for name in EXAMPLE_PAIRS]
    for path in (path for pair in pairs for path in pair):
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    return [[str(folder / path.name) for path in pair] for pair in pairs]
