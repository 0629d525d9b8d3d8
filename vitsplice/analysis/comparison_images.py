"""Images of a comparison: square crops, optional labels of their parts, and versions with another appearance."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.analysis.transforms import APPEARANCE_TRANSFORMS, STRUCTURE_TRANSFORMS
from vitsplice.config import RunConfig
from vitsplice.contracts import BackboneInfo
from vitsplice.engine.backbones import BackboneCache, BackboneLoader, load_settings
from vitsplice.errors import ImageError, UserError
from vitsplice.images import LoadedImage, encode_png, read, read_mask
from vitsplice.images.transforms import resized
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import pinned
from vitsplice.runs.checkpoints import features_sha256
from vitsplice.runs.record import versions
from vitsplice.runs.run import Run
from vitsplice.support import output_folder
from vitsplice.support.files import unique_names
from vitsplice.support.image_files import is_image_name
from vitsplice.support.progress import ProgressReporter

STYLE = "style"
"""Name of the appearance transform that gives an image the appearance of the next one."""

MAX_LABELS = 16
"""Maximum number of labels of a mask; a mask with more colours is thresholded into light and dark."""


@dataclass(frozen=True)
class ComparedImage:
    """An image of a comparison.

    Args:
        name: unique name for reports.
        pixels: the square crop, ``(1, 3, S, S)`` in [0, 1].
        styled: the crop with the appearance of another image, ``(1, 3, H, W)``, or None.
        labels: integer label of the part that each pixel belongs to, ``(S, S)``, or None.
    """

    name: str
    pixels: Tensor = field(repr=False)
    styled: Tensor | None = field(default=None, repr=False)
    labels: Tensor | None = field(default=None, repr=False)

    @property
    def transformed(self) -> dict[str, Tensor]:
        """The image under every transform, by the transform's name; `STYLE` only if there is a styled version."""
        appearance = {name: transform(self.pixels) for name, transform in APPEARANCE_TRANSFORMS.items()}
        style = {} if self.styled is None else {STYLE: self.styled}
        return appearance | style | {name: transform(self.pixels) for name, transform in STRUCTURE_TRANSFORMS.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of the pixels of the image and of its styled version, and of the labels."""
        total = hashlib.sha256()
        for tensor in (self.pixels, self.styled, self.labels):
            total.update(b"none" if tensor is None else tensor.contiguous().numpy().tobytes())
        return total.hexdigest()


@dataclass(frozen=True)
class ImageSource:
    """Paths of an image of a comparison, and of the files that belong to it.

    Args:
        name: unique name for reports.
        image: path of the image.
        mask: path of the mask of its parts, or None.
        size: side of the square crop in pixels.
        styled: path of the crop with the appearance of another image, or None.
    """

    name: str
    image: Path
    mask: Path | None
    size: int
    styled: Path | None = None

    def load(self) -> ComparedImage:
        """Read the image. It is not cached here, so that only images in use are in memory."""
        image = read(self.image)
        labels = _labels(self.mask, image, self.size) if self.mask else None
        styled = read(self.styled).pixels if self.styled else None
        return ComparedImage(self.name, center_square(image.pixels, self.size), styled, labels)


def image_sources(images: Sequence[Path], masks: Path | None, size: int) -> list[ImageSource]:
    """Locate and check the images of a comparison and their masks.

    Args:
        images: paths. Images with equal file names are named by the shortest distinct part of their paths
            (`vitsplice.support.files.unique_names`).
        masks: folder with masks of parts, or None. The path of a mask in this folder is the name of its image, with
            any of `vitsplice.support.image_files.SUFFIXES`; other files are ignored, and an image may have no mask.
        size: side of the square crop, in pixels.

    Raises:
        UserError: if an image or mask cannot be read, two images are equal, ``masks`` is not a folder, a mask has
            another size than its image, or it is ambiguous which mask belongs to an image.
    """
    if masks is not None and not os.path.isdir(masks):
        raise UserError(f"{masks} is not a folder; give a folder of masks")
    names, names_by_digest = unique_names(images), dict[str, str]()
    for name, image in zip(names, images, strict=True):
        if (other := names_by_digest.setdefault(_pixels_digest(image), name)) != name:
            raise UserError(f"duplicate image: {other} and {name} are equal images; leave one out")
    sources = [
        ImageSource(name, image, _mask_of(masks, name, image) if masks else None, size)
        for name, image in zip(names, images, strict=True)
    ]
    for source in sources:
        if source.mask:
            _labels(source.mask, read(source.image), size)
    return sources


def _pixels_digest(image: Path) -> str:
    """SHA-256 of the size and the pixels of an image, whatever the format of its file."""
    pixels = read(image).pixels
    return hashlib.sha256(str(tuple(pixels.shape)).encode() + pixels.numpy().tobytes()).hexdigest()


def _mask_of(masks: Path, name: str, image: Path) -> Path | None:
    """Find the mask of an image; None if there is none. Raises UserError if the mask or its image is ambiguous."""

    def files_named(path: str) -> list[Path]:
        folder, stem = (masks / path).parent, Path(path).name
        files = folder.iterdir() if os.path.isdir(folder) else ()
        return sorted(file for file in files if file.stem == stem and is_image_name(file))

    own, shared = files_named(name), files_named(image.stem)
    if shared and not own:
        raise UserError(f"mask {shared[0]} fits several images; rename the mask of {image} to {masks / name}.png")
    if len(own) > 1:
        raise UserError(f"{image} has several masks, {', '.join(map(str, own))}; keep one")
    return own[0] if own else None


def is_readable(image: Path) -> bool:
    """Return whether there is an image at a path, and it can be read."""
    try:
        read(image)
    except ImageError:
        return False
    return True


def center_square(image: Tensor, size: int) -> Tensor:
    """Crop the central square of ``(1, C, H, W)`` and resize it to ``size * size`` pixels."""
    return resized(_center_crop(image), (size, size))


def _center_crop(image: Tensor) -> Tensor:
    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


def _labels(file: Path, image: LoadedImage, size: int) -> Tensor:
    """Read a mask as labels ``(size, size)``, one for each colour.

    A mask with more than `MAX_LABELS` colours has two labels, for dark and light.

    Raises:
        UserError: if the mask cannot be read, or has another size than its image.
    """
    mask = read_mask(file).pixels
    if mask.shape != image.pixels.shape:
        (height, width), (mask_height, mask_width) = image.pixels.shape[-2:], mask.shape[-2:]
        raise UserError(
            f"mask {file} has {mask_width}x{mask_height} px; its image {image.name} has {width}x{height} px"
        )
    small = F.interpolate(_center_crop(mask), size=(size, size), mode="nearest")[0]
    red, green, blue = (small * 255).round().long()
    colours, labels = torch.unique((red * 256 + green) * 256 + blue, return_inverse=True)
    return labels if len(colours) <= MAX_LABELS else (small.mean(0) > 0.5).long()


def with_styles(
    sources: Sequence[ImageSource], settings: RunConfig, folder: Path, progress: ProgressReporter
) -> list[ImageSource] | None:
    """Give each image the appearance of the next one, by a run for each image; the first image follows the last.

    Output images that are in the folder already and can be read are not computed again.

    Returns:
        The sources with the paths of their styled versions; None if the progress reporter stopped the work.

    Raises:
        WeightsUnavailable: if the weights of a backbone, and of all its fallbacks, are unavailable.
    """
    settings, backbones = pinned(settings), BackboneCache()
    loaded = load_settings(settings, backbones, catalogue())
    for substitution in loaded.substitutions.values():
        progress.note(f"the transform '{STYLE}': {substitution}")
    digests = "".join(backbone_digests(backbone.info) for backbone in loaded.backbones.values())
    styled = []
    for number, source in enumerate(sources):
        other = sources[(number + 1) % len(sources)]
        progress.part(f"{source.name} with the appearance of {other.name}", number, len(sources))
        images = source.load().pixels, other.load().pixels
        texts = (settings.model_dump_json(), digests, str(versions()))
        key = (*(image.numpy().tobytes() for image in images), *map(str.encode, texts))
        file = folder / f"{hashlib.sha256(b''.join(key)).hexdigest()[:16]}.png"
        if not is_readable(file) and not _write_styled(file, images, settings, backbones, progress):
            return None
        styled.append(replace(source, styled=file))
    return styled


def backbone_digests(info: BackboneInfo) -> str:
    """Return digests of the weights and of the features of a backbone, for the names of stored files."""
    return f"{info.sha256} {features_sha256(info)}"


def _write_styled(
    file: Path,
    images: tuple[Tensor, Tensor],
    settings: RunConfig,
    backbones: BackboneLoader,
    progress: ProgressReporter,
) -> bool:
    """Give the first image the appearance of the second; return False if the progress reporter stopped the work."""
    if progress.stopped():
        return False
    run = Run(*images, settings, backbones=backbones)
    for _ in run.steps():
        if progress.stopped():
            return False
    output_folder.write(file.parent, {file.name: encode_png(run.pixels())})
    return True
