"""A run in memory: images are read, backbones are loaded, and steps are taken one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

from vitsplice.config import RunConfig
from vitsplice.contracts import Case, ImageName
from vitsplice.engine import memory
from vitsplice.engine.backbones import BackboneLoader, load_settings
from vitsplice.engine.device import pick_device
from vitsplice.engine.images import RunImages, masked, stack_appearances
from vitsplice.engine.problem import Components, check_run
from vitsplice.engine.stack import AppearanceImage
from vitsplice.engine.stages import Snapshot, StagedOptimisation
from vitsplice.engine.values import Step
from vitsplice.images import LoadedImage, from_pil, resize_to, to_pil
from vitsplice.metrics import select_run_metrics
from vitsplice.metrics.leakage import OptimisedParts
from vitsplice.metrics.values import MetricValue, mean_values, measure
from vitsplice.models.loading import model_of
from vitsplice.numerics import describe as describe_numerics
from vitsplice.numerics import numerics
from vitsplice.plugins import catalogue
from vitsplice.presets.merging import changed_keys
from vitsplice.presets.settings import pinned
from vitsplice.runs.inputs import Region, region_masks
from vitsplice.runs.record import versions
from vitsplice.runs.regions import limited_masks, masked_region, split_by_colour
from vitsplice.runs.result import Result
from vitsplice.runs.run_inputs import RunInputs


class Run:
    """A run whose steps are taken one at a time. It writes nothing.

    The constructor reads the images, loads the backbones, matches the images if a part of the run needs that, and
    computes the start image.

    Args:
        structure, appearance, structure_mask, appearance_mask, appearance_weights, regions: see `vitsplice.splice`.
        settings: settings of the run.
        backbones: loader of the backbones; None: a new `BackboneLoader`.

    Raises:
        VitspliceError: if an image, a mask, a setting or a backbone cannot be used, or memory is too small.
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
        appearance_weights: Sequence[float] | None = None,
        regions: Sequence[Region] | Region | None = (),
        backbones: BackboneLoader | None = None,
    ) -> None:
        began = perf_counter()
        known = catalogue()
        requested = pinned(settings)
        check_run(requested, known)
        device = pick_device(requested.device)
        inputs = RunInputs.read(
            structure,
            appearance,
            structure_mask=structure_mask,
            appearance_mask=appearance_mask,
            appearance_weights=appearance_weights,
            regions=regions,
        )
        self.images, self.masks, self.appearances = inputs.images, inputs.masks, inputs.appearances
        self.weights, self.regions = inputs.weights, inputs.regions
        self._loader = backbones or BackboneLoader()
        with memory.out_of_memory_advice():
            loaded_settings = load_settings(requested, self._loader, known)
            self.settings, self.backbones = loaded_settings.settings, loaded_settings.backbones
            self.substitutions = loaded_settings.substitutions
            self.changed_for_fallback = changed_keys(requested.with_fallback) if self.substitutions else []
            loaded = perf_counter()
            images = self._run_images(device, self.settings.size)
            first = next(iter(self.backbones.values()))
            self.model = model_of(self.settings.model, first, device) if self.settings.model else None
            self._components = Components.build(self.settings, self.backbones, known, self.model)
            memory.check(memory.Estimate(self._components), images, memory.free_bytes(device))
            self._optimisation = StagedOptimisation(self._components, images)
        self.history: list[Step] = []
        self.resumed_at = 0
        self.seconds = {"load": loaded - began, "start": perf_counter() - loaded, "steps": 0.0}

    def _run_images(self, device: torch.device, size: int | None) -> RunImages:
        """Return the images and masks on a device; ``size``: shorter side in pixels, None for the original size."""

        def on_device(maps: Tensor) -> Tensor:
            return (resize_to(maps, size) if size else maps).to(device)

        regions = split_by_colour(self.regions)
        limited = limited_masks(self.masks, regions, self.appearances)
        masks = {name: mask.mean(1, keepdim=True) for name, mask in limited.items()}
        appearances = [
            AppearanceImage(self.images[name].pixels, masks.get(name), weight)
            for name, weight in zip(self.appearances, self.weights, strict=True)
        ]
        stacked = stack_appearances(appearances, size, device)
        mask_of: dict[ImageName, Tensor] = {}
        if stacked.mask is not None:
            mask_of["appearance"] = stacked.mask
        if "structure" in masks:
            mask_of["structure"] = on_device(masks["structure"])
        images = RunImages(
            {"structure": on_device(self.images["structure"].pixels), "appearance": stacked.pixels},
            mask_of,
            stacked.images,
            tuple(masked_region(region, device) for region in regions),
        )
        return masked(images, self.settings.mask)

    def steps(self) -> Iterator[Step]:
        """Take the remaining steps.

        Raises:
            NonFiniteLoss: if a loss or gradient is not finite; `pixels` then returns the output of the last state with
                finite losses, if this call reached one in the current stage.
            VitspliceError: if memory is too small, or a loss term cannot be computed.
        """
        before, began = self.seconds["steps"], perf_counter()
        for step in _guarded(self._optimisation.steps()):
            self.history.append(step)
            self.seconds["steps"] = before + perf_counter() - began
            yield step

    def trial_steps(self, size: int) -> Iterator[Step]:
        """Take steps as this run would with another ``size``, so that they can be timed; this run is unchanged.

        Args:
            size: shorter side in pixels to which the images are resized.
        """
        with numerics(), memory.out_of_memory_advice():
            images = self._run_images(pick_device(self.settings.device), size)
            optimisation = StagedOptimisation(self._components, images)
        yield from _guarded(optimisation.steps())

    @property
    def finished(self) -> bool:
        """Whether every step was taken."""
        return len(self.history) == self.settings.steps

    @property
    def sizes(self) -> dict[str, Any]:
        """Working size of each stage and size of the output, in pixels, as plain data."""
        sizes = [*self._optimisation.working_sizes, self._optimisation.output_size]
        *working, output = ({"height": height, "width": width} for height, width in sizes)
        return {"working": working, "output": output}

    def snapshot(self) -> Snapshot:
        """Return the state between two steps. The next step changes its tensors: write or copy them before."""
        return self._optimisation.snapshot()

    @numerics()
    def restore(self, snapshot: Snapshot, history: Iterable[Step]) -> None:
        """Resume from a snapshot of a run of the same inputs, settings and backbones; call it before the first step.

        On the CPU of the same machine, with the same packages, plugins and number of threads, the output has the same
        bytes as that of an uninterrupted run.
        """
        self._optimisation.restore(snapshot)
        self.history = list(history)
        self.resumed_at = snapshot.step

    @numerics(grad=False)
    def pixels(self) -> Tensor:
        """The current output image, float32 ``(3, H, W)`` in [0, 1] on the CPU."""
        return self._optimisation.image()[0].to("cpu", torch.float32, copy=True)

    def metrics(self, pixels: Tensor | None = None) -> list[MetricValue]:
        """Measure the current output by `vitsplice.metrics.RUN_METRICS`; return [] with ``metrics: none``.

        The output is rounded to 8 bits first, as in the file ``output.png``. A metric that fails has the value None and
        a reason. With several appearance images, a value is the weighted mean of the values for each image.

        Args:
            pixels: the result of `pixels`, if it is already computed; None: compute it.
        """
        if self.settings.metrics == "none":
            return []
        known = catalogue()
        structure = self.images["structure"].pixels
        output = from_pil(to_pil(self.pixels() if pixels is None else pixels))
        references: dict[Literal["start", "unchanged"], Tensor] = {"unchanged": structure}
        if (start := self._start()) is not None:
            references["start"] = start
        context = self._loader.metric_context(self.settings.backbone.name, known)
        optimised = OptimisedParts.of_run(self.record(), self.settings.optimised_losses)
        cases = [Case("run", structure, self.images[name].pixels, output[None]) for name in self.appearances]
        values = [measure(select_run_metrics(known.metrics), context, case, references, optimised) for case in cases]
        return mean_values(values, self.weights)

    def _start(self) -> Tensor | None:
        """Return the start ``(1, 3, H, W)``, rounded to 8 bits; None if it equals the structure image or the output."""
        if self.settings.start == "structure" or not self.settings.steps:
            return None
        return from_pil(to_pil(self._optimisation.start))[None]

    def result(self) -> Result:
        """Return the current output with its record and metrics."""
        pixels = self.pixels()
        masks = {f"{name}_mask": mask for name, mask in self.masks.items()} | region_masks(self.regions)
        inputs = self.images | masks
        return Result(
            pixels=pixels,
            losses=tuple(self.history),
            settings=self.settings,
            record=self.record(),
            metrics=tuple(self.metrics(pixels)),
            finished=self.finished,
            inputs={name: image.pixels[0] for name, image in inputs.items()},
            input_paths=tuple(image.path for image in inputs.values() if image.path),
            provenance=self.provenance(),
        )

    def provenance(self) -> Tensor | None:
        """Return for each patch of the structure image the shares of its matches in the K appearance images.

        The result is ``(K, h, w)`` in [0, 1]; it is None with a single appearance image, or if the images were not
        matched.
        """
        shares = self._optimisation.shares
        return None if shares is None or len(self.appearances) == 1 else shares.float().cpu()

    def record(self) -> dict[str, Any]:
        """Return the content of ``run.json`` except for metrics and LUT; ``last`` has the losses of the last step."""
        last = self.history[-1] if self.history else None
        return {
            "finished": self.finished,
            "steps": {"requested": self.settings.steps, "taken": len(self.history), "resumed_at": self.resumed_at},
            "preset": self.settings.preset,
            "sizes": self.sizes,
            "seed": self.settings.seed,
            "device": self.settings.device,
            "precision": self.settings.precision,
            "threads": torch.get_num_threads(),
            "numerics": describe_numerics(),
            "versions": versions() | _plugin_versions(),
            "inputs": {
                name: _image_record(image) | dict(zip(("height", "width"), image.pixels.shape[-2:], strict=True))
                for name, image in self.images.items()
            },
            "masks": {name: _image_record(mask) for name, mask in self.masks.items()},
            **self._appearances_record(),
            **({"regions": regions} if (regions := self._regions_record()) else {}),
            "backbones": {name: asdict(backbone.info) for name, backbone in self.backbones.items()},
            **({"model": model} if (model := self._model_record()) else {}),
            "substitutions": [asdict(substitution) for substitution in self.substitutions.values()],
            "changed_for_fallback": self.changed_for_fallback,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "last": asdict(last) if last else None,
        }

    def _appearances_record(self) -> dict[str, Any]:
        """Weight and mean share (`provenance`) of each appearance image; empty for a single one."""
        if len(self.appearances) == 1:
            return {}
        weights, shares = dict(zip(self.appearances, self.weights, strict=True)), self.provenance()
        means = [] if shares is None else [round(share, 4) for share in shares.mean((1, 2)).tolist()]
        return {"appearance_weights": weights, "appearance_shares": dict(zip(self.appearances, means, strict=False))}

    def _regions_record(self) -> list[dict[str, Any]]:
        """Appearance image and masks of each region."""
        return [
            {
                "appearance": self.appearances[region.appearance],
                "structure_mask": _image_record(region.structure_mask),
                "appearance_mask": region.appearance_mask and _image_record(region.appearance_mask),
            }
            for region in self.regions
        ]

    def _model_record(self) -> dict[str, Any] | None:
        """`ModelRecord.provenance`, and the names of this run's images that the model was trained on."""
        if self.model is None:
            return None
        trained_on = [name for name, image in self.images.items() if image.sha256 in self.model.images]
        return self.model.record.provenance() | {"trained_on": trained_on}


def _guarded(steps: Iterator[Step]) -> Iterator[Step]:
    """Take steps, each with torch's state set by `numerics`; a failed allocation is raised as `OutOfMemory`."""
    while True:
        with numerics(), memory.out_of_memory_advice():
            step = next(steps, None)
        if step is None:
            return
        yield step


def _plugin_versions() -> dict[str, str]:
    """Return the versions of all loaded plugins, by their packages."""
    return {plugin.distribution: plugin.version for plugin in catalogue().plugins if not plugin.failure}


def _image_record(image: LoadedImage) -> dict[str, Any]:
    return {"name": image.name, "sha256": image.sha256, "notes": list(image.notes)}
