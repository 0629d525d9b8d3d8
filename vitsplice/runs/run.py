"""A run in memory: inputs read, backbone loaded, steps taken one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, partial
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

from vitsplice.config import BackboneConfig, RunConfig
from vitsplice.contracts import Case, ImageName, MetricContext
from vitsplice.engine import memory
from vitsplice.engine.backbones import Substitution
from vitsplice.engine.device import pick_device, pick_precision
from vitsplice.engine.images import RunImages, masked, read_masks
from vitsplice.engine.loop import Step
from vitsplice.engine.problem import Components, check_parts
from vitsplice.engine.stages import Snapshot, StagedOptimisation
from vitsplice.images import LoadedImage, read, resize_to
from vitsplice.metrics import RUN_METRICS
from vitsplice.metrics.values import MetricValue, measure
from vitsplice.numerics import numerics
from vitsplice.plugins import Catalogue, catalogue
from vitsplice.presets.settings import pinned
from vitsplice.runs.backbone_cache import BackboneLoader
from vitsplice.runs.metadata import describe
from vitsplice.runs.result import Result


class Run:
    """A run that is taken step by step.

    Making one reads the images and loads the backbone; nothing is written anywhere.

    Args:
        structure, appearance, structure_mask, appearance_mask: as `splice` takes them.
        settings: of the run.
        networks: where it takes its backbone from; None loads it.
    """

    @numerics()
    def __init__(
        self,
        structure: Any,
        appearance: Any,
        settings: RunConfig,
        *,
        structure_mask: Any = None,
        appearance_mask: Any = None,
        networks: BackboneLoader | None = None,
    ) -> None:
        began = perf_counter()
        known: Catalogue = catalogue()
        settings = pinned(settings)
        check_parts(settings, known)
        device = pick_device(settings.device)
        precision = pick_precision(settings.precision, device)
        images: dict[ImageName, LoadedImage] = {"structure": read(structure), "appearance": read(appearance)}
        masks = read_masks(images, {"structure": structure_mask, "appearance": appearance_mask})
        self._networks = networks or BackboneLoader()
        self.backbone, substitution = self._networks.backbone(settings.backbone, known, device, precision)
        self.images = images
        self.masks = masks
        self.substitution: Substitution | None = substitution
        self.settings = _resolved(settings, substitution, str(device), precision)
        loaded = perf_counter()
        grey = {image: mask.mean(1, keepdim=True) for image, mask in _on(device, masks, settings.size).items()}
        run_images = masked(RunImages(_on(device, images, settings.size), grey), settings.mask)
        components = Components.build(self.settings, self.backbone, known)
        memory.check(memory.Estimate(components), run_images, memory.free(device))
        with memory.advice():
            self._optimisation = StagedOptimisation(components, run_images)
        self.history: list[Step] = []
        self.resumed_at = 0
        self.seconds = {"load": loaded - began, "start": perf_counter() - loaded, "steps": 0.0}

    def steps(self) -> Iterator[Step]:
        """Take the steps. Raises NonFiniteLoss, after which `result` has the last good image, and OutOfMemory."""
        began = perf_counter()
        steps = self._optimisation.steps()
        while True:
            with numerics(), memory.advice():
                step = next(steps, None)
            if step is None:
                return
            self.history.append(step)
            self.seconds["steps"] = perf_counter() - began
            yield step

    @property
    def finished(self) -> bool:
        """Whether every step was taken."""
        return len(self.history) == self.settings.steps

    @property
    def working_sizes(self) -> list[tuple[int, int]]:
        """The height and width that the output is worked on at, stage by stage; empty without steps."""
        return self._optimisation.working_sizes

    @property
    def output_size(self) -> tuple[int, int]:
        """The height and width of the output image."""
        return self._optimisation.output_size

    def snapshot(self) -> Snapshot:
        """Where the optimisation stands between two steps."""
        return self._optimisation.snapshot()

    @numerics()
    def restore(self, snapshot: Snapshot, history: Iterable[Step]) -> None:
        """Go on from where a run of the same images, settings and weights stood: to the same bytes."""
        self._optimisation.restore(snapshot)
        self.history = list(history)
        self.resumed_at = snapshot.step

    @numerics(grad=False)
    def pixels(self) -> Tensor:
        """The output image as it is now, float32 ``(3, H, W)`` on the CPU."""
        return self._optimisation.image()[0].float().cpu()

    def metrics(self, pixels: Tensor | None = None) -> list[MetricValue]:
        """Measure the output as it is now by `RUN_METRICS`; nothing if the settings say ``metrics: none``.

        A metric that fails has no value but a reason.

        Args:
            pixels: the output image as `pixels` returns it; None to compute it.
        """
        if self.settings.metrics == "none":
            return []
        known = catalogue()
        structure, appearance = (self.images[image].pixels for image in ("structure", "appearance"))
        output = self.pixels() if pixels is None else pixels
        load = cache(partial(self._networks.metric_backbone, known=known))
        specs = [known.metrics[name] for name in RUN_METRICS if name in known.metrics]  # a plugin may conflict with one
        references: dict[Literal["start", "unchanged"], Tensor] = {"unchanged": structure}
        if (start := self._start()) is not None:
            references["start"] = start
        context = MetricContext(load, self.settings.backbone.name)
        return measure(specs, context, Case("run", structure, appearance, output[None]), references)

    def _start(self) -> Tensor | None:
        """The image that the output started from, ``(1, 3, H, W)``; None if it is the structure image or the output."""
        if self.settings.start == "structure" or not self.settings.steps:
            return None
        return self._optimisation.start.float().cpu()

    def result(self) -> Result:
        """The image as it is now, with everything known about it."""
        pixels = self.pixels()
        return Result(
            pixels=pixels,
            losses=tuple(self.history),
            settings=self.settings,
            facts=describe(self),
            metrics=tuple(self.metrics(pixels)),
            finished=self.finished,
            inputs={role: image.pixels[0] for role, image in self.images.items()}
            | {f"{role}_mask": mask.pixels[0] for role, mask in self.masks.items()},
        )


def _on(device: torch.device, images: dict[ImageName, LoadedImage], size: int | None) -> dict[ImageName, Tensor]:
    """Pixels on a device, brought to a shorter side of so many pixels, if any."""
    return {
        role: (resize_to(image.pixels, size) if size else image.pixels).to(device) for role, image in images.items()
    }


def _resolved(settings: RunConfig, substitution: Substitution | None, device: str, precision: str) -> RunConfig:
    """The settings with nothing left open, so that they give the same bytes again."""
    backbone = settings.backbone
    if substitution is not None:
        backbone = BackboneConfig(name=substitution.used)
    backbone = backbone.model_copy(update={"fallback": ()})
    return settings.model_copy(update={"backbone": backbone, "device": device, "precision": precision})
