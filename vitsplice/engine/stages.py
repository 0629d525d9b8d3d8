"""A run from its start to its output: the warm start, the stages, and the output at the structure image's full size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.sizing import Area
from vitsplice.config import RunConfig, StageConfig
from vitsplice.contracts import Backbone
from vitsplice.engine.loop import Optimisation, Step
from vitsplice.engine.problem import assemble
from vitsplice.engine.targets import RunImages
from vitsplice.engine.warm_start import warm_start
from vitsplice.matching import Correspondence, correspond
from vitsplice.plugins import Catalogue

FED = "fed"


@dataclass(frozen=True)
class Layer:
    """What an optimisation changed: laid over an image of any size."""

    before: Tensor
    after: Tensor

    def over(self, image: Tensor) -> Tensor:
        """The change, enlarged, on ``(1, 3, H, W)``."""
        change = self.after - self.before
        if change.shape[-2:] != image.shape[-2:]:
            change = F.interpolate(change, size=image.shape[-2:], mode="bicubic", align_corners=False)
        return (image + change).clamp(0, 1)


@dataclass(frozen=True)
class Snapshot:
    """Where an optimisation stands between two steps: all that cannot be made again from its settings and images.

    Args:
        stage: the number of the stage, from 0.
        step: the index of the step that follows.
        tensors: by name.
    """

    stage: int
    step: int
    tensors: dict[str, Tensor]


class Staged:
    """The whole optimisation of a run.

    Args:
        config: the settings; device and precision settled.
        images: structure and appearance at full size, on the device of the run; the start is made here.
        backbone: at the precision of the run, on the device.
        catalogue: where loss terms and generators are found.
    """

    def __init__(self, config: RunConfig, images: RunImages, backbone: Backbone, catalogue: Catalogue) -> None:
        self._config, self._backbone, self._catalogue = config, backbone, catalogue
        images = with_start(config, images, backbone)
        self._start = images.pixels["start"]
        self._images = RunImages({**images.pixels, "start": self._masked(self._start, images)}, images.masks)
        self._stages = [(self._capped(stage), indices) for stage, indices in stage_steps(config) if indices]
        self._number = 0
        self._before: Tensor | None = None
        self._current: Optimisation | None = None
        if config.steps and not config.stages:
            self._current = Optimisation(assemble(config, self._images, backbone, catalogue, fed=self._start))
        elif config.steps:
            self._enter(0)

    @property
    def output_size(self) -> tuple[int, int]:
        """The height and width of the output image: those of the structure image."""
        height, width = self._images.pixels["structure"].shape[-2:]
        return height, width

    @property
    def start(self) -> Tensor:
        """The image that the output starts from, at full size, ``(1, 3, H, W)``."""
        return self._images.pixels["start"]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The height and width that the output is worked on at, stage by stage; empty without steps."""
        structure = self._images.pixels["structure"]
        if not self._stages:
            return [self.output_size] if self._config.steps else []
        return [self._size(structure, "structure", stage) for stage, _ in self._stages]

    def steps(self) -> Iterator[Step]:
        """Take the steps of all stages. Raises NonFiniteLoss; `image` is then the last good one."""
        if self._current is None:
            return
        yield from self._current.steps()
        while self._number + 1 < len(self._stages):
            self._enter(self._number + 1)
            yield from self._current.steps()

    def snapshot(self) -> Snapshot:
        """Where it stands. The tensors are those in use: write them before the next step."""
        if self._current is None:
            return Snapshot(0, 0, {})
        fed = {FED: self._current.problem.fed} if self._number else {}
        return Snapshot(self._number, self._current.next, self._current.state() | fed)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from where a snapshot of the same settings and images was taken."""
        if self._current is None:
            return
        if snapshot.stage:
            self._enter(snapshot.stage, snapshot.tensors[FED].to(self._images.pixels["start"].device))
        self._current.restore(snapshot.tensors, snapshot.step)

    def image(self) -> Tensor:
        """The output image as it is now, at full size, ``(1, 3, H, W)``."""
        if self._current is not None and not self._stages:
            return self._current.image()
        layer = self._layer()
        return self._masked(layer.over(self._start) if layer else self._start, self._images)

    @staticmethod
    def _masked(output: Tensor, images: RunImages) -> Tensor:
        """The output where the structure mask lets it through. What is laid over it is masked only here, and once."""
        mask = images.masks.get("structure")
        return output if mask is None else torch.lerp(images.pixels["structure"], output, mask)

    def _layer(self) -> Layer | None:
        """What the stages have changed so far, if one has begun."""
        if self._current is None or self._before is None:
            return None
        return Layer(self._before, self._current.generated())

    def _enter(self, number: int, fed: Tensor | None = None) -> None:
        """Begin a stage: with what the one before it made, or with ``fed``."""
        stage, indices = self._stages[number]
        layer, images = self._layer(), self._sized(stage)
        before = self._resized(self._start, "start", stage)
        optimiser = self._config.optimiser.model_copy(update={"lr": stage.lr or self._config.optimiser.lr})
        config = self._config.model_copy(update={"optimiser": optimiser})
        if fed is None:
            fed = layer.over(before) if layer else before
        problem = assemble(config, images, self._backbone, self._catalogue, Area(stage.side), fed)
        self._number, self._before, self._current = number, before, Optimisation(problem, indices)

    def _capped(self, stage: StageConfig) -> StageConfig:
        """A stage at most as large as the output image."""
        return stage.model_copy(update={"side": working_side(stage, self.output_size)})

    def _sized(self, stage: StageConfig) -> RunImages:
        """The images at the size of a stage."""
        return RunImages(
            {role: self._resized(image, role, stage) for role, image in self._images.pixels.items()},
            {role: self._resized(mask, role, stage) for role, mask in self._images.masks.items()},
        )

    def _resized(self, maps: Tensor, image: str, stage: StageConfig) -> Tensor:
        size = self._size(maps, image, stage)
        return F.interpolate(maps, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)

    def _size(self, maps: Tensor, image: str, stage: StageConfig) -> tuple[int, int]:
        """Of an image at a stage: a view of it is about as large as the backbone looks at, if the image has so much."""
        views = self._config.views
        widest = (views.appearance if image == "appearance" else views.structure).crop[1]
        height, width = maps.shape[-2:]
        side = min(round(stage.side / widest), max(stage.side, math.isqrt(height * width)))
        return Area(side).target_size(height, width, self._backbone.info)


def working_side(stage: StageConfig, output: tuple[int, int]) -> int:
    """Side in pixels of a square with as many pixels as the output image is worked on at in a stage.

    That of the stage, or that of the output image of this height and width if it is smaller.
    """
    return min(stage.side, math.isqrt(math.prod(output)))


def stage_steps(config: RunConfig) -> list[tuple[StageConfig, range]]:
    """The stages of a run, each with the indices of its steps, which are shared out among them."""
    shares = [stage.share for stage in config.stages]
    ends = [round(config.steps * sum(shares[: n + 1]) / sum(shares)) for n in range(len(shares))]
    return list(zip(config.stages, map(range, [0, *ends[:-1]], ends), strict=True)) if shares else []


def with_start(config: RunConfig, images: RunImages, backbone: Backbone) -> RunImages:
    """The images with the one that the output starts from, before the structure mask is applied.

    The appearance image is mirrored, and so is its mask, where that is more like the structure image: what the terms
    match is then as alike as can be, and no term asks for its left and right.
    """
    structure, appearance = images.pixels["structure"], images.pixels["appearance"]
    if config.start == "structure":
        return RunImages({**images.pixels, "start": structure}, images.masks)
    match = _match(config, images, backbone)
    start = _warm_start(config, images, match)
    if not match.mirrored:
        return RunImages({**images.pixels, "start": start}, images.masks)
    masks = {image: mask.flip(-1) if image == "appearance" else mask for image, mask in images.masks.items()}
    return RunImages({**images.pixels, "appearance": appearance.flip(-1), "start": start}, masks)


def start_image(config: RunConfig, images: RunImages, backbone: Backbone) -> Tensor:
    """The image that the output starts from, before the structure mask is applied."""
    return with_start(config, images, backbone).pixels["start"]


def _match(config: RunConfig, images: RunImages, backbone: Backbone) -> Correspondence:
    match = config.match
    return correspond(
        images.pixels["structure"],
        images.pixels["appearance"],
        backbone,
        grid=match.grid,
        temperature=match.temperature,
        balance=match.balance,
        agreement=match.agreement,
        mask=images.masks.get("appearance"),
    )


def _warm_start(config: RunConfig, images: RunImages, match: Correspondence) -> Tensor:
    """The warm start at the strengths of the run.

    Without steps it is the output, and goes by strengths above 1 and by that of the structure; with steps it is the
    weights of the terms that do.
    """
    structure, appearance = images.pixels["structure"], images.pixels["appearance"]
    strengths = (config.appearance_strength, config.structure_strength)
    if config.steps:
        strengths = (min(1.0, config.appearance_strength), 1.0)
    return warm_start(structure, appearance, match, *strengths, mask=images.masks.get("appearance"))
