"""A study as one HTML page that contains its images and accesses no network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vitsplice.errors import Argument, UserError, VitspliceError
from vitsplice.images import read, to_pil
from vitsplice.study.plan import StudyPlan, plan_path
from vitsplice.support import output_folder
from vitsplice.support.files import atomic_replacement, write_atomically
from vitsplice.support.input_files import check_inputs_survive
from vitsplice.support.page import jpeg_uri
from vitsplice.support.script_page import render_script_page
from vitsplice.text import printable

JPEG_QUALITY = 95
"""Quality of the JPEGs, without chroma subsampling; the same for all images, whatever the format of their files."""

LARGEST_PAGE = 300_000_000
"""Maximum number of characters of the images in a page; browsers fail at about 500 million."""


@dataclass(frozen=True)
class EmbeddedImage:
    """Image of a page.

    Args:
        name: name in the page: a hash of the JPEG, which does not reveal the origin of the image.
        uri: data URI of the JPEG.
        sha256: SHA-256 of the image file.
        aspect: width over height of the image in the file.
    """

    name: str
    uri: str
    sha256: str
    aspect: float


class ImageEmbedder:
    """Encodes the images of a page without their metadata, each once.

    Args:
        size: maximum length of the longer side in pixels; smaller images are not enlarged.
        progress: called after each new image with the number of images so far.
    """

    def __init__(self, size: int, progress: Callable[[int], object]) -> None:
        self._size, self._progress = size, progress
        self._images: dict[tuple[Path, bool], EmbeddedImage] = {}
        self._characters = 0

    def __call__(self, path: Path, *, upside_down: bool = False) -> EmbeddedImage:
        """Return the image of a file, which is read at the first call with these arguments.

        Raises:
            ImageError: if the file cannot be read.
            UserError: if the page becomes too large for a browser.
        """
        key = (path, upside_down)
        if key not in self._images:
            self._images[key] = _encode(path, self._size, upside_down)
            self._characters += len(self._images[key].uri)
            if self._characters > LARGEST_PAGE:
                raise UserError(
                    f"the page would contain more than {LARGEST_PAGE // 10**6} MB of images; give fewer pairs or "
                    "methods, or a smaller ",
                    Argument("size"),
                    f" than {self._size}",
                )
            self._progress(len(self._images))
        return self._images[key]

    def uris(self) -> dict[str, str]:
        """Return all data URIs by name, sorted by name."""
        return dict(sorted((image.name, image.uri) for image in self._images.values()))


def _encode(path: Path, size: int, upside_down: bool) -> EmbeddedImage:
    loaded = read(path)
    image = to_pil(loaded.pixels)
    aspect = image.width / image.height
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    if upside_down:
        image = image.transpose(Image.Transpose.ROTATE_180)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    name = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
    return EmbeddedImage(name, jpeg_uri(buffer.getvalue()), loaded.sha256, aspect)


@dataclass(frozen=True)
class StudyPage:
    """Page of a study.

    Args:
        plan: plan of the study.
        images: data URIs of the images by name.
        notes: notes for the author about these images.
        inputs: paths of the manifest and the image files, which `write` refuses to replace.
    """

    plan: StudyPlan
    images: Mapping[str, str]
    notes: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()

    def render(self) -> str:
        """Return the HTML. Its content security policy allows only its own script and style, by their hashes.

        The plan, which says which image belongs to which method, is encoded to prevent accidental reading.
        """
        return render_script_page(
            "vitsplice.study",
            "study",
            title=self.plan.title,
            plan=base64.b64encode(json.dumps(self.plan.data()).encode()).decode(),
            images=self.images,
        )

    def write(self, path: Path) -> int:
        """Write the page, and the plan beside it, and return the size of the page in bytes.

        The plan of an earlier page is replaced only after the new page is on the disk, because results of the earlier
        page cannot be analysed without it. Symbolic links are followed.

        Args:
            path: path of the page, of any name; its folder is created if needed.

        Raises:
            UserError: if the page or its plan would replace one of the ``inputs``; nothing is written then.
            VitspliceError: if the page or its plan cannot be written; an earlier page and its plan are then unchanged.
                A process that is killed between the two replacements leaves the earlier page with the new plan.
        """
        check_inputs_survive(self.inputs, (path, plan_path(path)))
        page = self.render().encode()
        output_folder.create(path.parent)
        try:
            with atomic_replacement(path) as temporary:
                write_atomically(temporary, page)
                output_folder.write_file(plan_path(path), self.plan.to_bytes())
        except OSError as error:
            raise VitspliceError(f"cannot write {printable(str(path))}: {error.strerror or error}") from error
        return len(page)
