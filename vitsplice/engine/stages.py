"""The whole optimisation of a run: the start, the stages, and the output at the structure image's full size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.inputs import Area
from vitsplice.config import MIN_TILED_AREA_RATIO, RunConfig, StageConfig
from vitsplice.contracts import ROLES, ImageName
from vitsplice.engine.images import RunImages
from vitsplice.engine.loop import Optimisation, inside_mask
from vitsplice.engine.problem import Components, assemble, check_blur, check_stages
from vitsplice.engine.start import Start, prepare
from vitsplice.engine.values import Step
from vitsplice.images.transforms import resized

GENERATOR_INPUT = "generator_input"


def with_change(image: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Add ``after - before``, the difference of images ``(1, 3, h, w)``, to an image ``(1, 3, H, W)``.

    The difference is resized to ``(H, W)`` first. The result is clamped to [0, 1].
    """
    change = after - before
    if change.shape[-2:] != image.shape[-2:]:
        change = F.interpolate(change, size=image.shape[-2:], mode="bicubic", align_corners=False)
    return (image + change).clamp(0, 1)


@dataclass(frozen=True)
class Snapshot:
    """The state of a `StagedOptimisation` between two steps.

    A new `StagedOptimisation` with the same settings and images can resume from it (`StagedOptimisation.restore`).

    Args:
        stage: number of the stage, from 0; stages without steps are not counted.
        step: index of the next step.
        tensors: state of generator and optimiser, and, from the second stage on, the generator's input, by name. Empty
            in a run without steps.
    """

    stage: int
    step: int
    tensors: dict[str, Tensor]


class StagedOptimisation:
    """The whole optimisation of a run.

    Args:
        components: components of the run.
        images: structure and appearance image at full size, on the device of the run.
        start: what the run starts from; None: it is computed here.

    Raises:
        ConfigError: see `check_stages`, `check_blur` and `prepare`.
    """

    def __init__(self, components: Components, images: RunImages, start: Start | None = None) -> None:
        self._components, self._config = components, components.config
        height, width = images.pixels["structure"].shape[-2:]
        self._stages = stage_steps(self._config, (height, width))
        if self._stages:
            check_stages(components, images, self._stages)
            self._check_blur(images)
        if start is None:
            start = prepare(self._config, images, components.backbones, components.guided, components.model)
        images, self._vectors, self.shares = start.images, start.vectors, start.shares
        self._start = images.pixels["start"]
        masked_start = inside_mask(self._start, images.pixels["structure"], images.masks.get("structure"))
        self._images = replace(images, pixels={**images.pixels, "start": masked_start})
        self._number = 0
        self._stage_start: Tensor | None = None
        self._current: Optimisation | None = None
        if self._stages:
            self._enter(0)

    def _check_blur(self, images: RunImages) -> None:
        """Raise ConfigError if a blur kernel does not fit the images of a stage."""
        for role in ROLES:
            for stage, _ in self._stages:
                check_blur(role, self._config.views.of(role), min(self._size(images.pixels[role], role, stage)))

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the output image: those of the structure image."""
        height, width = self._images.pixels["structure"].shape[-2:]
        return height, width

    @property
    def start(self) -> Tensor:
        """The start at full size, with the structure mask applied, ``(1, 3, H, W)``."""
        return self._images.pixels["start"]

    @property
    def working_sizes(self) -> list[tuple[int, int]]:
        """Height and width of the output in each stage, or in a run without stages; empty without steps."""
        structure = self._images.pixels["structure"]
        return [self._size(structure, "structure", stage) for stage, _ in self._stages]

    def steps(self) -> Iterator[Step]:
        """Take the remaining steps of all stages.

        Raises:
            NonFiniteLoss: see `Optimisation.steps`; `image` then returns the output of the restored generator.
        """
        if self._current is None:
            return
        yield from self._current.steps()
        while self._number + 1 < len(self._stages):
            self._enter(self._number + 1)
            yield from self._current.steps()

    def snapshot(self) -> Snapshot:
        """The current state. The next step changes its tensors, so write them before."""
        if self._current is None:
            return Snapshot(0, 0, {})
        tensors = self._current.state()
        if self._number:
            tensors[GENERATOR_INPUT] = self._current.problem.generator_input
        return Snapshot(self._number, self._current.next, tensors)

    def restore(self, snapshot: Snapshot) -> None:
        """Load a snapshot of an optimisation of the same settings and images."""
        if self._current is None:
            return
        if snapshot.stage:
            self._enter(snapshot.stage, snapshot.tensors[GENERATOR_INPUT].to(self.start.device))
        self._current.restore(snapshot.tensors, snapshot.step)

    def image(self) -> Tensor:
        """The current output image at full size, ``(1, 3, H, W)``."""
        if self._current is not None and not self._config.stages:
            return self._current.image()
        structure, mask = self._images.pixels["structure"], self._images.masks.get("structure")
        return inside_mask(self._changed(self._start), structure, mask)

    def _changed(self, start: Tensor) -> Tensor:
        """Add the change that the stages have made so far to the start, which may have any size.

        Before the first update in a later stage, this is the change that the stages before it have made.
        """
        if self._current is None or self._stage_start is None:
            return start
        current = self._current
        updated = current.updated or self._number == 0
        return with_change(
            start, self._stage_start, current.generated() if updated else current.problem.generator_input
        )

    def _enter(self, number: int, generator_input: Tensor | None = None) -> None:
        """Begin a stage from ``generator_input``; None: the start with the change that earlier stages have made."""
        stage, indices = self._stages[number]
        images = self._resized_images(stage)
        start = self._resized(self._start, "start", stage)
        config = self._config
        if stage is not None and stage.lr is not None:
            config = config.model_copy(update={"optimiser": config.optimiser.model_copy(update={"lr": stage.lr})})
        components = replace(self._components, config=config, generator_options=self._generator_options(number))
        if generator_input is None:
            generator_input = self._changed(start)
        problem = assemble(components, images, self._vectors, stage, generator_input)
        self._number, self._stage_start, self._current = number, start, Optimisation(problem, indices)

    def _generator_options(self, number: int) -> Mapping[str, Any]:
        """Return the generator's options in a stage; from the second on, ``init`` is ``start`` where possible."""
        options = self._components.generator_options
        init = self._components.generator.options.get("init")
        return {**options, "init": "start"} if number and init and "start" in init.choices else options

    def _resized_images(self, stage: StageConfig | None) -> RunImages:
        pixels, masks = (
            {name: self._resized(maps, name, stage) for name, maps in named.items()}
            for named in (self._images.pixels, self._images.masks)
        )
        return replace(self._images, pixels=pixels, masks=masks)

    def _resized(self, maps: Tensor, name: ImageName, stage: StageConfig | None) -> Tensor:
        return resized(maps, self._size(maps, name, stage))

    def _size(self, maps: Tensor, name: ImageName, stage: StageConfig | None) -> tuple[int, int]:
        """Size of an image in a stage, with its aspect ratio, rounded to a size that the first backbone accepts.

        If the image is large enough, its largest crop has about the area of the stage. A smaller image keeps its area
        if that is at least the area of the stage, and is enlarged to the area of the stage otherwise. In a stage on
        tiles, an image that does not exceed the area of the stage keeps its size; without stages, every image does.
        """
        height, width = maps.shape[-2:]
        if stage is None or (stage.tile and math.isqrt(height * width) <= stage.side):
            return height, width
        largest_crop = self._config.views.of(name).crop[1]
        side = min(round(stage.side / largest_crop), max(stage.side, math.isqrt(height * width)))
        info = replace(self._components.first_backbone.info, fixed_size=None)  # views are resized to a fixed size
        return Area(side).target_size(height, width, info)


def stages_for(config: RunConfig, output: tuple[int, int]) -> list[StageConfig]:
    """Return the stages for an output size.

    The area of a stage is limited to that of the output. Stages on tiles that are then too small, compared with the
    last stage that is not left out (`MIN_TILED_AREA_RATIO`), are left out.
    """
    stages: list[StageConfig] = []
    for stage in config.stages:
        capped = stage.model_copy(update={"side": min(stage.side, math.isqrt(math.prod(output)))})
        if not (stage.tile and stages and capped.side**2 < MIN_TILED_AREA_RATIO * stages[-1].side ** 2):
            stages.append(capped)
    return stages


def stage_steps(config: RunConfig, output: tuple[int, int]) -> list[tuple[StageConfig | None, range]]:
    """Return each stage that has steps (`stages_for`), with the indices of these steps.

    The steps of the run are divided in proportion to ``share``. A run without stages counts as one stage, None.
    """
    stages: list[StageConfig | None] = [*stages_for(config, output)] or [None]
    shares = [stage.share if stage else 1.0 for stage in stages]
    ends = [round(config.steps * sum(shares[: n + 1]) / sum(shares)) for n in range(len(shares))]
    steps = map(range, [0, *ends[:-1]], ends)
    return [(stage, indices) for stage, indices in zip(stages, steps, strict=True) if indices]
