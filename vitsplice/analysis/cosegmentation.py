"""Co-segmentation of images into foreground and parts (`vitsplice.matching.cosegmentation`), and its output folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitsplice.analysis.finite import finite_features
from vitsplice.analysis.local_features import read_images
from vitsplice.analysis.upsampling import sharpened, upsample
from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import Backbone, BackboneInfo, Features
from vitsplice.engine.backbones import backbone_or_default
from vitsplice.engine.device import pick_device
from vitsplice.errors import UserError
from vitsplice.images import LoadedImage, Source, contact_sheet, encode_labels, encode_png
from vitsplice.images.transforms import shrink_to
from vitsplice.matching.cosegmentation import (
    attention_requests,
    border_distance,
    cls_attention,
    common_foreground,
    common_parts,
)
from vitsplice.matching.descriptors import descriptor_requests, join_features
from vitsplice.numerics import numerics
from vitsplice.support import output_folder
from vitsplice.support.files import json_bytes, safe_file_name
from vitsplice.support.input_files import check_inputs_survive

SHEET, DATA = "cosegment.png", "cosegment.json"

OUTPUT_FILE = re.compile(r"[0-9]+-[^/\\\0]+_(foreground|parts|overlay)\.png")
"""File names of the outputs of an image. `save` removes such files of an earlier call that it does not write again."""

MAX_PARTS = 20
"""Maximum number of parts: the number of colours of matplotlib's "tab20"."""

SHEET_SIDE = 360
"""Maximum shorter side in pixels at which images are drawn for the sheet, which shows them smaller."""

OPACITY = 0.6
"""Opacity of the colours of parts on an image."""


@dataclass(frozen=True)
class PatchFeatures:
    """Features of the patches of an image, on the CPU.

    Args:
        structure: the backbone's feature for structure, by which the common foreground is found, ``(1, N, D)``.
        descriptors: descriptors by which the foreground is divided into parts, ``(1, M, D)``.
        saliency: saliency of each patch of ``structure``, ``(h, w)``.
    """

    structure: Features
    descriptors: Features
    saliency: Tensor


@dataclass(frozen=True)
class Segments:
    """Segments of an image, all at the size of ``pixels``.

    Args:
        pixels: the image, possibly reduced, ``(1, 3, H, W)`` in [0, 1].
        foreground: share of the foreground in each pixel, ``(1, H, W)`` in [0, 1].
        labels: ``(H, W)`` int64: 0 is the background, others are parts.
    """

    pixels: Tensor
    foreground: Tensor
    labels: Tensor

    @property
    def overlay(self) -> Tensor:
        """Colours of the parts, and black for the background, over the image, ``(3, H, W)`` in [0, 1]."""
        colours = torch.tensor([(0, 0, 0), *part_colours(MAX_PARTS)]) / 255
        return OPACITY * colours[self.labels].permute(2, 0, 1) + (1 - OPACITY) * self.pixels[0]


@dataclass(frozen=True, eq=False, repr=False)
class Cosegmentation:
    """Common foreground of images and its parts; displayed in a notebook as a contact sheet.

    Args:
        images: the images.
        labels: for each image ``(h, w)`` int64 on the patch grid: 0 is the background; the other labels are parts, and
            a part has the same label in all images.
        info: information on the backbone.
        parts, clusters, size: see `cosegment`.
        notes: messages for the user.
    """

    images: tuple[LoadedImage, ...]
    labels: tuple[Tensor, ...] = field(repr=False)
    info: BackboneInfo
    parts: int
    clusters: int | None
    size: int
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shares = [f"{1 - self._fractions(index)[0]:.0%}" for index in range(len(self.images))]
        return f"Cosegmentation({self.parts} parts, foreground {', '.join(shares)}, backbone '{self.info.name}')"

    def segments(self, index: int, side: int | None = None) -> Segments:
        """Upsample the labels of an image along its edges.

        Args:
            index: index of the image.
            side: maximum shorter side of the result in pixels; None: that of the image.
        """
        pixels, labels = shrink_to(self.images[index].pixels, side), self.labels[index]
        background = _upsampled(labels == 0, pixels)
        part, largest = torch.zeros_like(background, dtype=torch.int64), torch.zeros_like(background)
        for label in torch.unique(labels[labels > 0]).tolist():  # one label at a time, to save memory
            share = _upsampled(labels == label, pixels)
            part[share > largest] = label
            largest = torch.maximum(largest, share)
        return Segments(pixels, sharpened(1 - background[None]), torch.where(background < 0.5, part, 0))

    def foreground(self, index: int, side: int | None = None) -> Tensor:
        """Return the foreground of an image, ``(1, H, W)`` in [0, 1]; arguments as for `segments`."""
        return self.segments(index, side).foreground

    def part_labels(self, index: int, side: int | None = None) -> Tensor:
        """Return the labels of an image, ``(H, W)`` int64; arguments as for `segments`."""
        return self.segments(index, side).labels

    @property
    def sheet(self) -> Tensor:
        """Contact sheet with a row for each image: the image, its foreground on black, its parts; ``(3, H, W)``."""
        return contact_sheet([self._row(index) for index in range(len(self.images))])

    def record(self) -> dict[str, Any]:
        """Return the content of ``cosegment.json``, except for the names of files."""
        colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in part_colours(self.parts)]
        return {
            "backbone": self.info.name,
            "weights_sha256": self.info.sha256,
            "foreground": self.info.label(self.info.structure),
            "descriptors": list(map(self.info.label, descriptor_requests(self.info))),
            "saliency": "[CLS] attention" if attention_requests(self.info) else "distance from the border",
            "clusters": self.clusters,
            "size": self.size,
            "colours": dict(zip(range(1, self.parts + 1), colours, strict=True)),
            "images": [
                {"name": image.name, "sha256": image.sha256, "fractions": self._fractions(index)}
                for index, image in enumerate(self.images)
            ],
        }

    def _fractions(self, index: int) -> dict[int, float]:
        """Fraction of the patches of an image that each label has."""
        counts = torch.bincount(self.labels[index].flatten(), minlength=self.parts + 1)
        return {label: round(int(count) / int(counts.sum()), 4) for label, count in enumerate(counts)}

    def _row(self, index: int) -> list[tuple[str, Tensor]]:
        segments, name = self.segments(index, SHEET_SIDE), Path(self.images[index].name).name
        image = segments.pixels[0]
        cut_out = segments.foreground * image
        return [(name, image), ("foreground", cut_out), (f"{self.parts} parts", segments.overlay)]

    def _repr_png_(self) -> bytes:
        return encode_png(self.sheet)


def _upsampled(mask: Tensor, image: Tensor) -> Tensor:
    """Upsample a mask ``(h, w)`` along the edges of an image ``(1, 3, H, W)``, ``(H, W)`` in [0, 1]."""
    return upsample(mask[None].float(), image)[0]


def part_colours(parts: int) -> list[tuple[int, int, int]]:
    """Return the colours of the first ``parts`` parts, 8-bit RGB: matplotlib's "tab20", the saturated ones first."""
    from matplotlib import colormaps

    colours = (colormaps["tab20"](torch.arange(MAX_PARTS).numpy())[:, :3] * 255).round().astype(int).tolist()
    return list(map(tuple, [*colours[::2], *colours[1::2]]))[:parts]


@numerics(grad=False)
def cosegment(
    images: Sequence[Source],
    *,
    backbone: str | Backbone | None = None,
    parts: int = 4,
    clusters: int | None = None,
    size: int = 448,
    device: str = "auto",
) -> Cosegmentation:
    """Find the foreground that images have in common, and divide it into parts.

    Deterministic; up to rounding and ties, the order of the images does not matter.

    Args:
        images: one or more images, as `vitsplice.images.read` takes them.
        backbone: name, or a loaded backbone, which is not loaded again; None: that of the default preset, or its
            fallback, which ``notes`` then names. If the backbone has no [CLS] token, or no queries and keys, patches
            far from the borders count as salient.
        parts: number of parts of the foreground, 1 to `MAX_PARTS`.
        clusters: number of clusters of all patches, at least 2; each cluster is foreground or background. None: the
            number at the elbow of the inertia.
        size: requested shorter side of the backbone's input, in pixels; the backbone may need another.
        device: see `vitsplice.engine.device.pick_device`.

    Raises:
        ImageError: if an image cannot be read.
        UserError: if there is no image, no common foreground, or a number is out of range.
        VitspliceError: if a feature is not finite.

    Example:
        >>> from vitsplice.images import example
        >>> result = cosegment(example("cat-dog"), backbone="untrained-test_vit", size=160)
        >>> [tuple(labels.shape) for labels in result.labels]
        [(10, 15), (10, 10)]
    """
    if not 1 <= parts <= MAX_PARTS:
        raise UserError(f"the number of parts must be 1 to {MAX_PARTS}; it is {parts}")
    if clusters is not None and clusters < 2:
        raise UserError(f"the number of clusters must be at least 2, for foreground and background; it is {clusters}")
    loaded, target = read_images(images, size), pick_device(device)
    network, substitution = backbone_or_default(backbone, target)
    patches = [patch_features(image, network, size, target) for image in loaded]
    foreground = common_foreground(
        [image.structure for image in patches], [image.saliency for image in patches], clusters
    )
    notes = [str(substitution)] if substitution else []
    empty = [image.name for image, mask in zip(loaded, foreground, strict=True) if not mask.any()]
    notes += [f"no patch of {name} is in the common foreground" for name in empty]
    labels = common_parts([image.descriptors for image in patches], foreground, parts)
    return Cosegmentation(loaded, tuple(labels), network.info, parts, clusters, size, tuple(notes))


def patch_features(image: LoadedImage, backbone: Backbone, size: int, device: torch.device) -> PatchFeatures:
    """Compute the features of the patches of an image by a backbone on the device; ``size`` as for `cosegment`.

    Raises:
        VitspliceError: if a feature is not finite.
    """
    info = backbone.info
    requests, attention = descriptor_requests(info), attention_requests(info)
    inputs = Resize(size)(image.pixels.to(device), info)
    features = finite_features(backbone, inputs, (info.structure, *requests, *attention), image.name)
    structure, descriptors = features[info.structure], join_features(features, requests)
    grid = structure.grid or (1, 1)
    saliency = cls_attention(*(features[request] for request in attention)) if attention else border_distance(grid)
    return PatchFeatures(_patches_on_cpu(structure), _patches_on_cpu(descriptors), saliency.cpu())


def _patches_on_cpu(features: Features) -> Features:
    """Return the patches of local features, without prefix tokens, on the CPU."""
    return Features(features.patches.cpu(), features.grid)


def save(result: Cosegmentation, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write the sheet, ``cosegment.json``, and foreground, parts and overlay of each image; return the sheet's path.

    ``cosegment.json``, which lists the files, is written first, so that a later call can remove the files of a call
    that was killed.

    Raises:
        OutputExists: if the folder holds a co-segmentation, or a file that would be replaced, and ``force`` is not set.
        UserError: if the folder cannot be created, or an image is a file that would be replaced or removed.
        VitspliceError: if a file cannot be written.
    """
    path = check_output(folder, [image.name for image in result.images], force=force)
    colours = [(0, 0, 0), *part_colours(result.parts)]
    names = [part_file_names(image.name, index) for index, image in enumerate(result.images)]
    listed = [name for files in names for name in files.values()]
    output_folder.remove_listed(path, DATA, OUTPUT_FILE, keep=listed)
    output_folder.write(path, {DATA: json_bytes(result.record() | {"files": listed})})
    for index, files in enumerate(names):
        segments = result.segments(index)
        contents = {
            files["foreground"]: encode_png(segments.foreground.expand(3, -1, -1)),
            files["parts"]: encode_labels(segments.labels, colours),
            files["overlay"]: encode_png(segments.overlay),
        }
        output_folder.write(path, contents)
    output_folder.write(path, {SHEET: encode_png(result.sheet)})
    return path / SHEET


def part_file_names(image: str | os.PathLike[str], index: int) -> dict[str, str]:
    """Return the names of the files of an image: ``foreground``, ``parts`` and ``overlay``.

    Args:
        image: path or name of the image.
        index: its index among the images, from 0.
    """
    stem = safe_file_name(Path(image).stem)
    return {kind: f"{index + 1}-{stem}_{kind}.png" for kind in ("foreground", "parts", "overlay")}


def check_output(folder: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = (), *, force: bool) -> Path:
    """Return the folder, untouched, if a co-segmentation may be written to it.

    Args:
        folder: output folder.
        inputs: paths of the images of the co-segmentation, in order.
        force: allow a co-segmentation in the folder, and files with the names of its outputs, to be replaced.

    Raises:
        OutputExists: if the folder holds a co-segmentation, or a file that would be replaced, and ``force`` is not set.
        UserError: if the path is a file, or an input is a file that would be replaced or removed.
    """
    images, path = list(inputs), Path(folder)
    listed = output_folder.listed_files(path, DATA, OUTPUT_FILE)
    written = [name for index, image in enumerate(images) for name in part_file_names(image, index).values()]
    check_inputs_survive(images, (path / name for name in (SHEET, DATA, *listed, *written)))
    output_folder.check(folder, (SHEET, DATA), "a co-segmentation", force=force)
    return output_folder.check_names(folder, written, force=force)
