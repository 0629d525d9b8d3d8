"""How much memory a run needs, asked of the parts themselves before it starts, and how much there is.

What an optimisation holds is above all what its backward pass keeps. That is counted on a small image, where it costs
nothing, and grows with the number of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from vitsplice.config import RunConfig, StageConfig
from vitsplice.contracts import Backbone, FeatureRequest
from vitsplice.engine.problem import weighted_terms
from vitsplice.engine.stages import working_side
from vitsplice.engine.targets import RunImages
from vitsplice.errors import Argument, OutOfMemory, Part, allocation_failure
from vitsplice.options import complete
from vitsplice.plugins import Catalogue
from vitsplice.rng import private_rng

SAMPLE = 64
"""Side in pixels of the image on which a generator is tried."""

FULL_SIZE = 40
"""Float32 numbers per pixel at the full size of both images: images, their colours, filters of the warm start."""

PAIRS = 8
"""Float32 numbers per pair of patches while images are matched: similarities, assignments, agreement."""

FORWARD = 0.15
"""Memory of a forward pass alone, which stores one block, as a fraction of what a backward pass needs stored."""

SIMILARITIES = 4
"""Float32 numbers per pair of patches that a self-similarity stores for its backward pass."""

MEASURED = 150
"""Float32 numbers per pixel at the size at which the output is measured: unfolded patches above all."""

MEASURED_SIDE, MEASURED_LONGEST = 256, 2048
"""That size: the shorter side, and the maximum of the longer, in pixels (`vitsplice.metrics.output`)."""

MARGIN = 1.25
"""Of what was counted: gradients, workspace, and what the allocator wastes."""

GIB = 2**30

Size = tuple[int, int]
"""Height and width."""

ADVICE: tuple[Part, ...] = (
    "try a smaller ",
    Argument("size"),
    ", ",
    Argument("precision", "bfloat16"),
    ", or a smaller backbone",
)


def kept_for_backward(function: Callable[[], Tensor]) -> int:
    """Bytes that a function's result keeps for its backward pass, each piece of memory counted once."""
    seen: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # a result that is saved for itself would otherwise hold itself, and never be freed

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda kept: kept):
        result = function()
    del result
    return sum(seen.values())


class Estimate:
    """What a run needs, as a function of the sizes of its images.

    Args:
        config: the settings; device and precision settled.
        backbone: on the device, at the precision of the run.
        catalogue: where loss terms and generators are found.
    """

    def __init__(self, config: RunConfig, backbone: Backbone, catalogue: Catalogue) -> None:
        self._config, self._stride = config, backbone.info.stride
        self._look = _per_pixel_of_backbone(backbone, config)
        self._inputs, self._generate, self._canvas, self._own = 0, 0.0, True, (0.0, 0)
        if config.steps:
            self._try_generator(config, backbone, catalogue)

    def _try_generator(self, config: RunConfig, backbone: Backbone, catalogue: Catalogue) -> None:
        """Measure what the steps store per pixel."""
        terms = [term for term in weighted_terms(config, backbone, catalogue) if term.config.ever_active(config.steps)]
        self._inputs = len({term.input for term in terms})
        spec = catalogue.generator(config.generator.name)
        self._canvas = spec.canvas
        options = complete(spec, config.generator.options, "generator.options")
        with private_rng(config.seed):
            sample = torch.rand(1, 3, SAMPLE, SAMPLE)
            generator = spec.build(sample, options).train()
            self._generate = kept_for_backward(lambda: generator(sample)) / SAMPLE**2
            own = sum(p.numel() * p.element_size() for p in generator.parameters())
        self._own = (own / SAMPLE**2 if spec.canvas else 0.0, 0 if spec.canvas else own)

    def bytes(self, structure: Size, appearance: Size) -> int:
        """Memory for images of these sizes: at full size, plus the largest of start, stages and metrics."""
        full = math.prod(structure) + math.prod(appearance)
        phases = [self._start(), self._measuring(structure, appearance)]
        if self._config.steps:
            phases += [self._steps(structure, appearance, stage) for stage in self._config.stages or (None,)]
        return round(MARGIN * (4 * FULL_SIZE * full + max(phases)))

    def _start(self) -> float:
        """Memory of matching both images: features, and numbers per pair of patches."""
        if self._config.start != "match":
            return 0.0
        patches = self._config.match.grid**2
        return 4 * PAIRS * patches**2 + FORWARD * self._look * patches * self._stride**2

    def _measuring(self, structure: Size, appearance: Size) -> float:
        """Memory of measuring the output, by the longer of both images."""
        if self._config.metrics == "none":
            return 0.0
        longest = max(max(size) / min(size) for size in (structure, appearance))
        return 4 * MEASURED * MEASURED_SIDE * min(MEASURED_SIDE * longest, MEASURED_LONGEST)

    def _steps(self, structure: Size, appearance: Size, stage: StageConfig | None) -> float:
        """Memory of the optimisation at one size: the generator, its gradients and moments, and the backbone."""
        if stage:
            made = looked_at = float(working_side(stage, structure) ** 2)
        else:
            made = float(max(math.prod(structure), math.prod(appearance)))
            looked_at = max(self._seen(structure), self._seen(appearance))
        generated = 1 if self._canvas else self._inputs
        per_pixel, fixed = self._own
        moments = 4 * (per_pixel * made + fixed)  # itself, its gradient, Adam's two moments
        patches = looked_at / self._stride**2
        seen = self._inputs * self._look * looked_at + 4 * SIMILARITIES * patches**2
        return generated * self._generate * made + moments + seen

    def _seen(self, size: Size) -> float:
        resize, (short, long) = self._config.resize, sorted(size)
        longer = min(resize.size * long / short, resize.max_size or math.inf)
        return resize.size * longer


def _per_pixel_of_backbone(backbone: Backbone, config: RunConfig) -> float:
    """Bytes that the backbone keeps for a pixel that it looks at."""
    info = backbone.info
    side = max(info.smallest, math.ceil(2 * SAMPLE / info.multiple) * info.multiple)
    height, width = info.fixed or (side, side)
    device, last = torch.device(config.device), FeatureRequest(info.structure.facet, -1)

    def looked() -> Tensor:
        image = torch.zeros(1, 3, height, width, device=device, requires_grad=True)
        return backbone(image, [last])[last].values

    return kept_for_backward(looked) / (height * width)


def check(estimate: Estimate, images: RunImages, there: int | None) -> None:
    """Refuse a run that does not fit.

    Args:
        estimate: of the run.
        images: structure and appearance.
        there: bytes that are free, or None if that is not known.

    Raises:
        OutOfMemory: saying how much is needed and which size would fit.
    """
    structure, appearance = (_size(images.pixels[image]) for image in ("structure", "appearance"))
    needed = estimate.bytes(structure, appearance)
    if there is None or needed <= there:
        return
    shorter = min(*structure, *appearance)
    fits = next((size for size in range(shorter - 1, 15, -1) if _at(estimate, structure, appearance, size) <= there), 0)
    advice = (Argument("size", fits), " would fit") if fits else ("no size of these images would fit",)
    raise OutOfMemory(f"this run needs about {_shown(needed)} of memory and {_shown(there)} are free; ", *advice)


def _shown(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / 2**20:.0f} MiB"


def _size(image: Tensor) -> Size:
    return image.shape[-2], image.shape[-1]


def _scaled(image: Size, shorter: int) -> Size:
    return round(image[0] * shorter / min(image)), round(image[1] * shorter / min(image))


def _at(estimate: Estimate, structure: Size, appearance: Size, shorter: int) -> int:
    """What is needed when both images are brought to a shorter side."""
    return estimate.bytes(_scaled(structure, shorter), _scaled(appearance, shorter))


def free(device: torch.device) -> int | None:
    """Bytes that are free on a device: of the CPU, within the limits of the container; None if not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    import psutil

    return int(min(psutil.virtual_memory().available, _left_in_container()))


def _left_in_container(folder: Path = Path("/sys/fs/cgroup")) -> float:
    """What control groups leave (version 2), or infinity. What is used includes files kept in memory, which can go."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - int(used) + int(kept["inactive_file"]))
    except (OSError, ValueError, KeyError):
        return math.inf


@contextmanager
def advice() -> Iterator[None]:
    """Tell an allocation that fails in words that help.

    Raises:
        OutOfMemory: in place of torch's error, on any device.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (what := allocation_failure(error)) is None:
            raise
        raise OutOfMemory(f"the memory is used up ({what}); ", *ADVICE) from error
