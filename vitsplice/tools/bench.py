"""How fast things go on this machine, as ratios: only what is measured in one run can be compared.

The plain loop is the published recipe taken literally: every image of every term passes the backbone by itself, in
float32, and, as in the released code, gradients of the backbone's weights are computed along the way.
"""

from __future__ import annotations

import resource
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone, FeatureRequest, Features
from vitsplice.engine.backbones import DTYPES, load_configured
from vitsplice.engine.features import extract
from vitsplice.engine.images import RunImages
from vitsplice.engine.loop import Optimisation, Problem, Step
from vitsplice.engine.problem import Components, assemble
from vitsplice.engine.terms import WeightedTerm
from vitsplice.images import example, read, resize_to
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for
from vitsplice.rng import stream
from vitsplice.runs.run import Run

SIZE = 224
WARM_UP = 3
"""Steps before any is timed: the first allocates, and step 0 of a recipe has other terms."""

NO_BANK = ("views.structure.bank=null", "views.appearance.bank=null")
BANK = ("views.structure.bank=6", "views.appearance.bank=6")

LOOPS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "official, float32": ("official", "float32", ()),
    "official, bfloat16, 6 views kept": ("official", "bfloat16", BANK),
    "paper, float32": ("paper", "float32", ()),
}
"""What is timed beside the plain loop: preset, precision, settings."""


class PlainLoop(Optimisation):
    """The same steps, but each term passes its output and its target through the backbone by itself."""

    def _losses(self, index: int, active: list[WeightedTerm]) -> dict[str, Tensor]:
        images, config = self.problem.images, self.problem.config
        views = images.views(config.views, config.seed, index)
        outputs = self._generate(dict.fromkeys(term.input for term in active), views)
        return {term.name: self._alone(term, outputs[term.input], views[term.target]) for term in active}

    def _alone(self, term: WeightedTerm, output: Tensor, view: Callable[[Tensor], Tensor]) -> Tensor:
        requests = list(term.term.requests)
        target = view(self.problem.images.pixels[term.target[0]])
        with torch.no_grad():
            features = self._features(target, requests)
        return term.term.function(self._features(output, requests), features)

    def _features(self, image: Tensor, requests: list[FeatureRequest]) -> dict[FeatureRequest, Features]:
        return extract(self.problem.backbone, self.problem.resize, {0: image}, requests)[0]


@dataclass(frozen=True)
class Loop:
    """A step's time (seconds, median), and what part it is of the plain loop's (median, least, most)."""

    name: str
    seconds: float
    of_plain: tuple[float, float, float]


def bench(
    backbone: str | None = None,
    steps: int = 8,
    quick_steps: int | None = None,
    told: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """Measure everything.

    Args:
        backbone: in place of the presets' own.
        steps: how many of each loop are timed.
        quick_steps: to cut the preset quick to, or None for all of it.
        told: called with what is being measured.

    Returns:
        plain data, ready for JSON.
    """
    settings = settings_for("official", backbone=backbone)
    loaded, _ = load_configured(settings.backbone, catalogue())
    name = loaded.info.name
    told("matrix multiplication")
    rates = {precision: matmul_rate(DTYPES[precision]) for precision in ("float32", "bfloat16")}
    told("steps, beside the plain loop")
    loops = step_times(name, steps)
    told("passes of the backbone")
    passes = {precision: pass_rate(_fresh(name, precision), rates[precision]) for precision in rates}
    told("growth")
    network = _fresh(name, "float32")
    sizes = {str(side): pass_seconds(network, 1, side) for side in (SIZE, 2 * SIZE, 3 * SIZE)}
    views = {str(number): pass_seconds(network, number, SIZE) for number in (1, 2, 4, 8)}
    told("the preset quick, stage by stage")
    return {
        "machine": {"threads": torch.get_num_threads(), "torch": torch.__version__, "backbone": name},
        "matmul_gflops": rates,
        "steps": [
            {
                "loop": loop.name,
                "seconds": loop.seconds,
                "of_plain": dict(zip(("median", "least", "most"), loop.of_plain, strict=True)),
            }
            for loop in loops
        ],
        "backbone_share_of_matmul_rate": passes,
        "pass_seconds_by_size": sizes,
        "pass_seconds_by_views": views,
        "quick_seconds": stages(name, quick_steps),
        "peak_memory_mib": peak_memory(),
    }


def matmul_rate(dtype: torch.dtype, side: int = 2048, times: int = 12) -> float:
    """GFLOP/s of a square matrix multiplication, the best of a few."""
    matrix = torch.rand(side, side, generator=stream(0, "bench")).to(dtype)
    best = min(_timed(lambda: matrix @ matrix) for _ in range(times))
    return float(2 * side**3 / best / 1e9)


def pass_rate(backbone: Backbone, gflops: float) -> float:
    """The share of the matrix multiplication rate that forward and backward passes of two images reach."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        _pass(backbone, 2, SIZE)
    seconds = min(_timed(lambda: _pass(backbone, 2, SIZE)) for _ in range(6))
    return float(counter.get_total_flops() / seconds / 1e9 / gflops)


def pass_seconds(backbone: Backbone, images: int, side: int) -> float:
    """Seconds of a forward and backward pass, the best of three."""
    return min(_timed(lambda: _pass(backbone, images, side)) for _ in range(3))


def _pass(backbone: Backbone, images: int, side: int) -> None:
    batch = torch.full((images, 3, side, side), 0.5, requires_grad=True)
    requests = [backbone.info.appearance, backbone.info.structure]
    found = backbone(batch, requests)
    _sum(found, requests).backward()  # type: ignore[no-untyped-call]


def _sum(found: Mapping[FeatureRequest, Any], requests: list[FeatureRequest]) -> Tensor:
    return torch.stack([found[request].values.sum() for request in requests]).sum()


def step_times(backbone: str, steps: int) -> list[Loop]:
    """Steps of every loop, taken in turn so that whatever slows the machine slows all."""
    loops = {"plain loop, float32": _loop(PlainLoop, backbone, "official", "float32", (), frozen=False)}
    for name, (preset, precision, overrides) in LOOPS.items():
        loops[name] = _loop(Optimisation, backbone, preset, precision, overrides)
    loops["splice terms of quick, float32, nothing kept"] = _splice_of_quick(backbone, "float32", NO_BANK)
    loops["splice terms of quick, bfloat16, views kept"] = _splice_of_quick(backbone, "bfloat16", ())
    times: dict[str, list[float]] = {name: [] for name in loops}
    for taken in range(WARM_UP + steps):
        for name, loop in loops.items():
            seconds = _timed(lambda loop=loop: next(loop))  # type: ignore[misc]
            if taken >= WARM_UP:
                times[name].append(seconds)
    plain = next(iter(times.values()))
    return [Loop(name, statistics.median(taken), _ratios(taken, plain)) for name, taken in times.items()]


def _ratios(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    found = [one / other for one, other in zip(ours, theirs, strict=True)]
    return statistics.median(found), min(found), max(found)


def _loop(
    kind: type[Optimisation],
    backbone: str,
    preset: str,
    precision: str,
    overrides: tuple[str, ...],
    frozen: bool = True,
) -> Iterator[Step]:
    settings = settings_for(preset, backbone=backbone, precision=precision, size=SIZE, overrides=overrides)
    return kind(_problem(settings, _fresh(backbone, precision, frozen))).steps()


def _splice_of_quick(backbone: str, precision: str, more: tuple[str, ...]) -> Iterator[Step]:
    """Splice's two terms as `quick` optimises them: pixels as a pyramid, no network that has to keep an identity."""
    terms = ("texture", "patches", "edges", "smoothness")
    left_out = [f"terms.{term}.weight=0" for term in terms]
    overrides = (*left_out, "start=structure", f"resize.size={SIZE}", *more)
    settings = settings_for("quick", backbone=backbone, precision=precision, size=SIZE, overrides=overrides).model_copy(
        update={"stages": (), "steps": 1000}
    )
    return Optimisation(_problem(settings, _fresh(backbone, precision))).steps()


def _fresh(backbone: str, precision: str, frozen: bool = True) -> Backbone:
    network: Any = catalogue().backbones[backbone].build(None)
    if not frozen:
        network.requires_grad_(True)
    loaded: Backbone = network.to(torch.device("cpu"), DTYPES[precision])
    return loaded


def _problem(settings: RunConfig, network: Backbone) -> Problem:
    structure, appearance = (resize_to(read(path).pixels, SIZE) for path in example())
    images = RunImages({"structure": structure, "appearance": appearance, "start": structure})
    return assemble(Components.build(settings, network, catalogue()), images)


def stages(backbone: str, steps: int | None = None) -> dict[str, float]:
    """Seconds of each part of `quick` on the packaged pair."""
    run = Run(*example(), settings_for("quick", backbone=backbone, steps=steps))
    for _ in run.steps():
        pass
    return run.seconds | {"metrics": _timed(run.metrics)}


def peak_memory() -> float:
    """The most memory that this process has had, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10


def _timed(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began
