"""A cell of the comparison: every figure of one backbone on one image, and the file that keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vitsplice.analysis import encoding, transforms
from vitsplice.backbones.inputs import fitting_size
from vitsplice.backbones.sizing import Resize
from vitsplice.contracts import Backbone, FeatureRequest, Features
from vitsplice.errors import VitspliceError
from vitsplice.numerics import numerics
from vitsplice.support import output_folder as folder

FORMAT = 2
"""Of what a cell holds; one of another format is made again."""

IN_MEMORY = 9
"""Most cells of one backbone in memory at a time."""

STYLE = "style"
"""The change of appearance that takes another image."""


@dataclass(frozen=True)
class Subject:
    """An image of the comparison.

    Args:
        name: for reports; unique.
        pixels: square, ``(1, 3, S, S)``.
        styled: the same in another image's look, or None.
        labels: of the parts of the image, whole numbers, ``(S, S)``, or None.
    """

    name: str
    pixels: Tensor = field(repr=False)
    styled: Tensor | None = field(default=None, repr=False)
    labels: Tensor | None = field(default=None, repr=False)

    @property
    def changed(self) -> dict[str, Tensor]:
        """Every change of it, by name."""
        made = {name: change(self.pixels) for name, change in transforms.APPEARANCE_TRANSFORMS.items()}
        made |= {} if self.styled is None else {STYLE: self.styled}
        return made | {name: change(self.pixels) for name, change in transforms.STRUCTURE_TRANSFORMS.items()}

    @property
    def digest(self) -> str:
        """Of all that its cells depend on."""
        total = hashlib.sha256()
        for part in (self.pixels, self.styled, self.labels):
            total.update(b"none" if part is None else part.contiguous().numpy().tobytes())
        return total.hexdigest()


@dataclass(frozen=True)
class Cell:
    """What one backbone encodes of one image. Layers count from the end.

    Args:
        changed: (role, change, layer) -> how much the change changes the feature of that role.
        pck: (warp, layer) -> the part of the places that are found again.
        parts: layer -> mean IoU of clusters with the labels; empty without labels.
        structure: the self-similarity of each layer, the first first, ``(L, N, N)``.
        appearance: the global feature of each layer, the first first, ``(D,)`` each.
    """

    changed: Mapping[tuple[str, str, int], float]
    pck: Mapping[tuple[str, int], float]
    parts: Mapping[int, float]
    structure: Tensor = field(repr=False)
    appearance: tuple[Tensor, ...] = field(repr=False)

    def features(self, role: str) -> list[Tensor]:
        """The features of a role, layer by layer, the first first."""
        return list(self.structure) if role == "structure" else list(self.appearance)


@numerics(grad=False)
def look_at(subject: Subject, backbone: Backbone) -> Cell:
    """Every figure of one backbone on one image.

    Args:
        subject: on the CPU.
        backbone: on any device.
    """
    eye = _Eye(backbone)
    plain = eye(subject.pixels)
    changed: dict[tuple[str, str, int], float] = {}
    pck: dict[tuple[str, int], float] = {}
    for name, image in subject.changed.items():
        seen = eye(image)
        for layer, (before, after) in enumerate(zip(plain, seen, strict=True), -len(plain)):
            changed["structure", name, layer] = encoding.distance(before.structure, after.structure)
            changed["appearance", name, layer] = encoding.distance(before.appearance, after.appearance)
            if name in transforms.WARPS:
                pck[name, layer] = encoding.pck(before.local, after.local, transforms.WARPS[name])
    parts = {}
    if subject.labels is not None:
        parts = {n: encoding.separability(one.local, subject.labels) for n, one in enumerate(plain, -len(plain))}
    return Cell(changed, pck, parts, torch.stack([one.structure for one in plain]), tuple(o.appearance for o in plain))


@dataclass(frozen=True)
class _Seen:
    """One layer's features of one image."""

    local: Features
    structure: Tensor
    appearance: Tensor


class _Eye:
    """All layers' features of an image, at its own size or the nearest that the backbone takes."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone, info = backbone, backbone.info
        roles = (info.structure.facet, info.appearance.facet)
        self._requests = [tuple(FeatureRequest(facet, layer) for facet in roles) for layer in info.every_layer]
        self._device = next(iter(getattr(backbone, "parameters", lambda: ())()), torch.zeros(())).device

    def __call__(self, image: Tensor) -> list[_Seen]:
        info = self._backbone.info
        size = fitting_size(info, image.shape[-2], image.shape[-1])
        found = self._backbone(Resize().to(image.to(self._device), size), [r for both in self._requests for r in both])
        features = [(found[structure], found[appearance]) for structure, appearance in self._requests]
        return [_Seen(local, encoding.structure_of(local).cpu(), whole.values[0].cpu()) for local, whole in features]


def write(path: Path, cell: Cell) -> None:
    """Keep a cell. Raises VitspliceError if it cannot be written."""
    metrics = {
        "format": FORMAT,
        "changed": [[*key, value] for key, value in cell.changed.items()],
        "pck": [[*key, value] for key, value in cell.pck.items()],
        "parts": list(cell.parts.items()),
    }
    tensors = {"structure": cell.structure.half()} | {f"appearance.{n}": t for n, t in enumerate(cell.appearance)}
    data = save({n: t.contiguous() for n, t in tensors.items()}, {"metrics": json.dumps(metrics)})
    folder.write(path.parent, {path.name: data})


def read(path: Path) -> Cell | None:
    """A cell that was kept, or None if there is none that is whole."""
    try:
        with safe_open(path, "pt") as file:
            metrics = json.loads((file.metadata() or {})["metrics"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if metrics["format"] != FORMAT:
            return None
        return Cell(
            {(role, change, layer): value for role, change, layer, value in metrics["changed"]},
            {(warp, layer): value for warp, layer, value in metrics["pck"]},
            dict(metrics["parts"]),
            tensors.pop("structure"),
            tuple(tensors[f"appearance.{n}"] for n in range(len(tensors))),
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


class Cells(Mapping[str, Cell]):
    """Stored cells of one backbone by image; at most `IN_MEMORY` are in memory at a time.

    Raises:
        VitspliceError: when one cannot be read back.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._read = lru_cache(IN_MEMORY)(_read_back)

    def __getitem__(self, image: str) -> Cell:
        return self._read(self._files[image])

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _read_back(file: Path) -> Cell:
    if (cell := read(file)) is None:
        raise VitspliceError(f"{file} cannot be read back; the same command makes it again")
    return cell
