"""Estimate the memory that a run needs, to compare it with the free memory before the run starts.

Most of this memory holds the tensors that autograd saves for the backward pass. They are measured on a small image and
scaled by the number of pixels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from vitsplice.backbones.inputs import fitting_size
from vitsplice.config import StageConfig
from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest, ImageName
from vitsplice.engine.images import RunImages
from vitsplice.engine.problem import Components
from vitsplice.engine.stages import stages_for
from vitsplice.engine.tiles import OVERLAP
from vitsplice.errors import Argument, MessagePart, OutOfMemory, allocation_failure
from vitsplice.losses.neighbourhoods import PAIR_BYTES, PAIRS
from vitsplice.matching.description import patch_area
from vitsplice.rng import private_rng

SAMPLE_SIDE = 128
"""Side, in pixels, of the image on which generator and backbone are measured. A U-Net of five levels would pad a
smaller image, which would distort the measurement."""

FULL_SIZE_FLOATS = 40
"""Float32 numbers per pixel of all images at full size, in every phase of a run: images, masks, Lab colours."""

WARM_START_FLOATS = 100
"""Further float32 numbers per pixel of all images while the warm start is computed. At 1024 px the peak of the
preset instant was about 150 including `FULL_SIZE_FLOATS`; `MARGIN` covers the difference."""

MATCH_FLOATS = 8
"""Float32 numbers per pair of patches while images are matched: similarities, assignments, agreement."""

MODEL_FLOATS, MODEL_SIDE = 300, 1536
"""Float32 numbers per pixel while the generator of a trained model is applied (up to 280 were measured with the two
built-in ones), and maximum height and width of the tiles to which it is applied, in pixels."""

FORWARD_FRACTION = 0.15
"""Memory of a forward pass without autograd, relative to what autograd saves for the backward pass."""

SELF_SIMILARITY_FLOATS = 4
"""Float32 numbers per pair of patches that autograd saves for a self-similarity."""

NEIGHBOURHOODS = 1000
"""Upper limit of the number of neighbourhoods (`vitsplice.losses.neighbourhoods`) of a square image, with the default
options. For other images, the limit is multiplied by the aspect ratio."""

METRIC_FLOATS = 150
"""Float32 numbers per pixel of the output resized for the metrics; mostly unfolded patches."""

METRIC_SIDE, METRIC_MAX_SIDE = 256, 2048
"""Shorter side, and maximum of the longer side, of the output resized for the metrics, in pixels."""

MARGIN = 1.25
"""Factor for gradients, workspace and fragmentation."""

GIB = 2**30

Size = tuple[int, int]
"""Height and width."""

ALTERNATIVES: tuple[MessagePart, ...] = (Argument("precision", "bfloat16"), ", or a smaller backbone")
ADVICE: tuple[MessagePart, ...] = ("try a smaller ", Argument("size"), ", ", *ALTERNATIVES)


def saved_for_backward(function: Callable[[], Tensor], network: object = None) -> int:
    """Return the bytes that autograd saves for the backward pass of a function's result; each storage counts once.

    Args:
        function: function of no arguments.
        network: if it is an ``nn.Module``, its parameters and buffers are not counted: they are in memory anyway.
    """
    storages: dict[int, int] = {}
    own_tensors = (*network.parameters(), *network.buffers()) if isinstance(network, nn.Module) else ()
    in_use = {tensor.untyped_storage().data_ptr() for tensor in own_tensors}

    def count(tensor: Tensor) -> Tensor:
        if (address := tensor.untyped_storage().data_ptr()) not in in_use:
            storages[address] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # avoids a reference cycle where an operation saves its own result, such as exp

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda saved: saved):
        result = function()
    del result
    return sum(storages.values())


class Estimate:
    """Estimate of the memory that a run needs, given the sizes of its images.

    Args:
        components: components of the run, of which generator and backbones are measured.
    """

    def __init__(self, components: Components) -> None:
        self._config = components.config
        device = torch.device(self._config.device)
        self._infos = {name: backbone.info for name, backbone in components.backbones.items()}
        self._backbone_bytes_per_pixel = {
            name: _backbone_bytes_per_pixel(backbone, device) for name, backbone in components.backbones.items()
        }
        self._canvas = components.generator.canvas
        self._guided = components.guided
        self._input_counts: dict[str, Counter[ImageName]] = {}
        self._generator_bytes_per_pixel, self._parameter_bytes = 0.0, (0.0, 0)
        if self._config.steps:
            self._measure_generator(components)

    def _measure_generator(self, components: Components) -> None:
        """Measure the generator on a square of side `SAMPLE_SIDE`, and count the inputs of the terms of each backbone.

        A canvas has more parameters for a larger image, so it is built for an image of two such squares too.
        """
        steps = self._config.steps
        active = [term for term in components.terms if term.config.ever_active(steps)]
        self._input_counts = {
            name: Counter(image for image, _ in {term.input for term in active if term.backbone == name})
            for name in self._infos
        }
        with private_rng(self._config.seed):
            sample = torch.rand(1, 3, SAMPLE_SIDE, SAMPLE_SIDE)
        generator = components.build_generator(sample)
        with private_rng(self._config.seed):
            self._generator_bytes_per_pixel = saved_for_backward(lambda: generator(sample), generator) / SAMPLE_SIDE**2
        sample_bytes, per_pixel = _parameter_bytes(generator), 0.0
        if self._canvas:
            doubled = _parameter_bytes(components.build_generator(sample.repeat(1, 1, 2, 1)))
            per_pixel = (doubled - sample_bytes) / SAMPLE_SIDE**2
        self._parameter_bytes = (per_pixel, round(sample_bytes - per_pixel * SAMPLE_SIDE**2))

    def required_bytes(self, structure: Size, appearance: Size, number: int = 1) -> int:
        """Estimate the bytes: `MARGIN` times the sum of all images at full size and the phase that needs most.

        Args:
            structure, appearance: sizes of the images.
            number: number of appearance images of this size.
        """
        full = math.prod(structure) + number * math.prod(appearance)
        warm_start = 4 * WARM_START_FLOATS * full if self._config.start == "match" else 0
        phases = [
            number * self._match_bytes() + warm_start,
            self._model_bytes(structure),
            self._metric_bytes(structure, appearance),
        ]
        if self._config.steps:
            stages = stages_for(self._config, structure)
            phases += [self._stage_bytes(structure, appearance, number, stage) for stage in stages or (None,)]
        return round(MARGIN * (4 * FULL_SIZE_FLOATS * full + max(phases)))

    def _match_bytes(self) -> float:
        """Estimate the bytes for matching one appearance image: features, and matrices over pairs of patches."""
        if self._config.start == "structure" and not self._guided:
            return 0.0
        grid = self._config.match.grid
        sides = {name: patch_area(grid, self._infos[name]).side for name in self._config.matching_backbones}
        features = max(self._backbone_bytes_per_pixel[name] * side**2 for name, side in sides.items())
        return 4 * MATCH_FLOATS * grid**4 + FORWARD_FRACTION * features

    def _model_bytes(self, structure: Size) -> float:
        """Estimate the bytes for the output of a trained model."""
        if self._config.start != "model":
            return 0.0
        return 4 * MODEL_FLOATS * math.prod(min(MODEL_SIDE, side) for side in structure)

    def _metric_bytes(self, structure: Size, appearance: Size) -> float:
        """Estimate the bytes for the metrics of the output, from the larger aspect ratio of both images."""
        if self._config.metrics == "none":
            return 0.0
        longest = max(max(size) / min(size) for size in (structure, appearance))
        return 4 * METRIC_FLOATS * METRIC_SIDE * min(METRIC_SIDE * longest, METRIC_MAX_SIDE)

    def _stage_bytes(self, structure: Size, appearance: Size, number: int, stage: StageConfig | None) -> float:
        """Estimate the bytes for a stage (None: a run without stages): generator, optimiser and backbones."""
        pixels = self._working_pixels(structure, appearance, stage)
        outputs = 1 if self._canvas else sum(self._output_count(name, number) for name in self._infos)
        per_pixel, fixed = self._parameter_bytes
        parameter_bytes = 4 * (per_pixel * pixels + fixed)  # parameters, gradients, Adam's two moments
        feature_bytes = sum(self._feature_bytes(name, structure, appearance, number, stage) for name in self._infos)
        neighbourhood_bytes = self._neighbourhood_bytes(structure, appearance, number)
        generator_bytes = outputs * self._generator_bytes_per_pixel * pixels
        return generator_bytes + parameter_bytes + feature_bytes + neighbourhood_bytes

    def _neighbourhood_bytes(self, structure: Size, appearance: Size, number: int) -> float:
        """Estimate the bytes for the matrices over pairs of neighbourhoods, if a term may compare them."""
        aspect_ratios = (max(size) / min(size) for size in (structure, appearance))
        pairs = number * NEIGHBOURHOODS**2 * math.prod(aspect_ratios)
        return PAIR_BYTES * min(PAIRS, pairs) if self._guided else 0.0

    def _output_count(self, name: str, number: int) -> int:
        """Count the outputs for the terms of a backbone: 1 per structure view, ``number`` per appearance view."""
        counts = self._input_counts[name]
        return counts["structure"] + number * counts["appearance"]

    def _working_pixels(self, structure: Size, appearance: Size, stage: StageConfig | None) -> float:
        """Return the maximum number of pixels of an output of the generator; for a stage see `StageConfig.side`."""
        if stage is None:
            return float(max(math.prod(structure), math.prod(appearance)))
        return min((stage.side / self._config.views.structure.crop[1]) ** 2, max(stage.side**2, math.prod(structure)))

    def _feature_bytes(
        self, name: str, structure: Size, appearance: Size, number: int, stage: StageConfig | None
    ) -> float:
        """Estimate the bytes for the features of one backbone, and for the matrices over pairs of patches."""
        terms = [term for key, term in self._config.terms.items() if stage is None or stage.has(key)]
        if not self._input_counts[name] or not any(self._config.backbone_key_of(term) == name for term in terms):
            return 0.0
        pixels = self._backbone_pixels(name, structure, appearance, stage)
        patches = pixels / self._infos[name].stride ** 2
        pairs = 4 * SELF_SIMILARITY_FLOATS * number * patches**2
        images = self._output_count(name, number) + FORWARD_FRACTION * (number - 1)  # targets; `MARGIN` covers one
        return images * self._backbone_bytes_per_pixel[name] * pixels + pairs

    def _backbone_pixels(self, name: str, structure: Size, appearance: Size, stage: StageConfig | None) -> float:
        """Return the maximum number of pixels of a view after it is resized for a backbone."""
        side = self._config.backbones[name].side
        if stage is not None and stage.tile:
            return float(min(stage.side, stage.tile + OVERLAP) ** 2)
        if isinstance(side, int):
            return float(side**2)
        if stage is not None:
            return float(stage.side**2)
        if side == "view":
            return float(max(math.prod(structure), math.prod(appearance)))
        return max(self._resized_pixels(structure), self._resized_pixels(appearance))

    def _resized_pixels(self, size: Size) -> float:
        """Return the number of pixels of an image resized by the setting ``resize``."""
        resize = self._config.resize
        scale = min(resize.size / min(size), (resize.max_size or math.inf) / max(size))
        return scale**2 * math.prod(size)


def _backbone_bytes_per_pixel(backbone: Backbone, device: torch.device) -> float:
    """Measure the bytes that autograd saves per pixel of the backbone's input."""
    info: BackboneInfo = backbone.info
    side = math.ceil(SAMPLE_SIDE / info.size_multiple) * info.size_multiple
    height, width = fitting_size(info, side, side)
    last = FeatureRequest(info.structure.facet, -1)

    def features() -> Tensor:
        image = torch.zeros(1, 3, height, width, device=device, requires_grad=True)
        return backbone(image, [last])[last].values

    return saved_for_backward(features, backbone) / (height * width)


def check(estimate: Estimate, images: RunImages, available: int | None) -> None:
    """Raise an error if a run does not fit into the available memory.

    Args:
        estimate: estimate for the run.
        images: structure and appearance image.
        available: free bytes, or None if unknown.

    Raises:
        OutOfMemory: if it does not fit; the message states the required memory, and a size that would fit, if any.
    """
    structure, appearance = (_height_width(images.pixels[image]) for image in ("structure", "appearance"))
    number = len(images.pixels["appearance"])
    needed = estimate.required_bytes(structure, appearance, number)
    if available is None or needed <= available:
        return

    def fits(side: int) -> bool:
        return estimate.required_bytes(_scaled(structure, side), _scaled(appearance, side), number) <= available

    largest = next(filter(fits, range(max(min(structure), min(appearance)), 15, -1)), 0)
    no_size: tuple[MessagePart, ...] = ("no size of these images would fit; try ", *ALTERNATIVES)
    advice = (Argument("size", largest), " would fit") if largest else no_size
    raise OutOfMemory(
        f"this run needs about {_format_bytes(needed)} of memory and {_format_bytes(available)} are free; ", *advice
    )


def _format_bytes(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / 2**20:.0f} MiB"


def _height_width(image: Tensor) -> Size:
    return image.shape[-2], image.shape[-1]


def _scaled(image: Size, shorter: int) -> Size:
    return round(image[0] * shorter / min(image)), round(image[1] * shorter / min(image))


def free_bytes(device: torch.device) -> int | None:
    """Return the free bytes on a device, None if unknown.

    On the CPU the limit of the container is taken into account; on CUDA, blocks that torch's allocator caches count as
    free.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    if device.type != "cpu":
        return None
    import psutil

    return int(min(psutil.virtual_memory().available, _free_in_container()))


def _free_in_container(folder: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the free bytes within the cgroup v2 limit, infinity without one; inactive page cache counts as free."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - int(used) + int(stat["inactive_file"]))
    except (OSError, ValueError, KeyError):
        return math.inf


@contextmanager
def out_of_memory_advice() -> Iterator[None]:
    """Convert errors of failed allocations, on any device, to `OutOfMemory` with advice.

    Raises:
        OutOfMemory: if an allocation fails within the context.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (reason := allocation_failure(error)) is None:
            raise
        raise OutOfMemory(f"out of memory ({reason}); ", *ADVICE) from error


def _parameter_bytes(generator: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in generator.parameters())
