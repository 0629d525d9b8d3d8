"""Benchmarks on this machine, most of them as ratios: only times that one call of `bench` measured are comparable.

The plain loop is the published recipe: each image of each term has a backbone pass of its own, in float32, and, as in
the released code, gradients of the backbone's weights are computed too.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.utils.benchmark import Timer

from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone, FeatureRequest, Features
from vitsplice.engine.backbones import DTYPES, load_configured
from vitsplice.engine.device import pick_precision
from vitsplice.engine.images import RunImages
from vitsplice.engine.loop import Optimisation, Problem
from vitsplice.engine.problem import Components, assemble, check_run
from vitsplice.engine.terms import WeightedTerm
from vitsplice.engine.values import Step
from vitsplice.images import example, read, resize_to
from vitsplice.plugins import catalogue
from vitsplice.plugins.build import build_part
from vitsplice.presets.settings import settings_for
from vitsplice.rng import stream
from vitsplice.tools.processes import one_and_two
from vitsplice.tools.run_times import run_times

SIZE = 224
"""Shorter side in pixels of the images of ``steps`` and ``passes``."""

CPU = torch.device("cpu")
"""Device of all benchmarks except ``run`` and ``processes``."""

MAX_STEPS = 1000
"""Maximum number of timed steps of a loop."""

WARM_UP = 3
"""Number of first steps that are not timed: they allocate memory, and step 0 of a recipe has other terms."""

PARTS = {
    "processes": "a run as a process: alone, and two at once",
    "steps": "steps of presets, compared with the plain loop",
    "passes": "passes of the backbone, compared with matrix multiplication",
    "run": "the parts of a run, and the share of each backbone",
}
"""Names and descriptions of the benchmarks, in the order in which they are run.

``processes`` comes first, while this process is small: `vitsplice.tools.processes.ProcessTimes`.
"""

SPLICE_TERMS = ("structure", "appearance")
"""Terms of `quick` that are those of Splice."""

NO_BANK = ("views.structure.bank=null", "views.appearance.bank=null")
BANK = ("views.structure.bank=6", "views.appearance.bank=6")

LOOPS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "official": ("official", "float32", ()),
    "official, bank of 6 views": ("official", "auto", BANK),
    "paper": ("paper", "float32", ()),
}
"""Loops of entire presets that are compared with the plain loop, by name: preset, precision, overrides."""


class PlainLoop(Optimisation):
    """The steps of `Optimisation`, with separate backbone passes for the output and the target of each term."""

    def _losses(self, index: int, active: list[WeightedTerm]) -> dict[str, Tensor]:
        images, config = self.problem.images, self.problem.config
        views = images.views(config.views, config.seed, index)
        outputs = self._generate(dict.fromkeys(term.input for term in active), views)
        return {term.name: self._value(term, outputs[term.input], views[term.target]) for term in active}

    def _value(self, term: WeightedTerm, output: Tensor, view: Callable[[Tensor], Tensor]) -> Tensor:
        requests = list(term.loss_term.requests)
        target = view(self.problem.images.pixels[term.target[0]])
        with torch.no_grad():
            target_features = self._features(target, requests)
        return term.loss_term.function(self._features(output, requests), target_features)

    def _features(self, image: Tensor, requests: list[FeatureRequest]) -> dict[FeatureRequest, Features]:
        (backbone,) = self.problem.backbones.values()
        return backbone.features({0: image}, requests)[0]


@dataclass(frozen=True)
class StepTime:
    """Time of a step of one loop.

    Args:
        loop: name of the loop.
        seconds: median over the steps.
        of_plain: ratio to the same step of the plain loop: median, minimum and maximum.
    """

    loop: str
    seconds: float
    of_plain: dict[str, float]


def bench(
    run: RunConfig,
    command: Callable[[Path], Sequence[str]],
    backbone: str | None = None,
    steps: int = 8,
    parts: Sequence[str] = tuple(PARTS),
    note: Callable[[str], object] = lambda _: None,
    done: Callable[[str, Any], object] = lambda part, result: None,
) -> dict[str, Any]:
    """Run benchmarks.

    Args:
        run: settings of the run that is timed, on the packaged pair.
        command: function that returns a command for the same run, which writes to the given folder.
        backbone: backbone of ``steps`` and ``passes``; None: that of the preset ``official``, or its fallback.
        steps: number of timed steps of each loop, at most `MAX_STEPS`.
        parts: names of the benchmarks: keys of `PARTS`.
        note: called with the description of each benchmark before it starts.
        done: called with the name and the results of the machine and of each benchmark as soon as they are known.

    Returns:
        Results by name, as plain data for JSON.

    Raises:
        UnknownName, ConfigError: before all benchmarks, if the settings are not for a run (`check_run`).
        VitspliceError: if a backbone cannot be loaded, or a command fails.
    """
    check_run(run, catalogue())
    measurements: dict[str, Callable[[], Any]] = {
        "processes": lambda: process_times(command),
        "steps": lambda: [asdict(loop) for loop in step_times(available_name(backbone), steps)],
        "passes": lambda: pass_times(available_name(backbone)),
        "run": lambda: preset_times(run),
    }
    results: dict[str, Any] = {"machine": {"threads": torch.get_num_threads(), "torch": torch.__version__}}
    done("machine", results["machine"])
    for part in filter(parts.__contains__, PARTS):
        note(PARTS[part])
        results[part] = measurements[part]()
        done(part, results[part])
    return results


def available_name(backbone: str | None) -> str:
    """Return the name of a backbone; without one, that of the preset ``official`` or its first available fallback."""
    loaded, _ = load_configured(settings_for("official", backbone=backbone).backbone, catalogue())
    return loaded.info.name


def preset_times(settings: RunConfig) -> dict[str, Any]:
    """Times of the parts of a run on the packaged pair, as plain data."""
    return {"preset": settings.preset, "parts": [asdict(part) for part in run_times(*example(), settings)]}


def process_times(command: Callable[[Path], Sequence[str]]) -> dict[str, Any]:
    """Time and memory of a command in one process, and in two at once, as plain data."""
    one, two = one_and_two(command)
    return {"one": asdict(one), "two": asdict(two), "two_to_one": two.seconds / one.seconds}


def pass_times(backbone: str) -> dict[str, Any]:
    """Times of forward and backward passes of a backbone, as plain data."""
    precisions = dict.fromkeys(("float32", pick_precision("auto", CPU)))  # bfloat16 takes minutes where it is emulated
    rates = {precision: matmul_rate(DTYPES[precision]) for precision in precisions}
    shares = {precision: pass_rate(_new_backbone(backbone, precision), rates[precision]) for precision in rates}
    network = _new_backbone(backbone, "float32")
    return {
        "backbone": backbone,
        "matmul_gflops": rates,
        "share_of_matmul_rate": shares,
        "seconds_by_size": {str(side): pass_seconds(network, 1, side) for side in (SIZE, 2 * SIZE, 3 * SIZE)},
        "seconds_by_views": {str(number): pass_seconds(network, number, SIZE) for number in (1, 2, 4, 8)},
    }


def matmul_rate(dtype: torch.dtype, side: int = 2048) -> float:
    """GFLOP/s of a square matrix multiplication."""
    matrix = torch.rand(side, side, generator=stream(0, "bench")).to(dtype)
    return 2 * side**3 / best_seconds(lambda: matrix @ matrix, 12) / 1e9


def pass_rate(backbone: Backbone, gflops: float) -> float:
    """Fraction of a matrix multiplication rate that forward and backward passes of two images reach."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        _pass(backbone, 2, SIZE)
    seconds = best_seconds(lambda: _pass(backbone, 2, SIZE), 6)
    return float(counter.get_total_flops() / seconds / 1e9 / gflops)


def pass_seconds(backbone: Backbone, images: int, side: int) -> float:
    """Seconds of a forward and backward pass."""
    return best_seconds(lambda: _pass(backbone, images, side), 3)


def best_seconds(function: Callable[[], object], repeats: int) -> float:
    """The shortest time of a function on the current number of threads."""
    timer = Timer("function()", globals={"function": function}, num_threads=torch.get_num_threads())
    return min(timer.timeit(1).mean for _ in range(repeats))


def _pass(backbone: Backbone, images: int, side: int) -> None:
    batch = torch.full((images, 3, side, side), 0.5, requires_grad=True)
    requests = [backbone.info.appearance, backbone.info.structure]
    features = backbone(batch, requests)
    torch.stack([features[request].values.sum() for request in requests]).sum().backward()  # type: ignore[no-untyped-call]


def step_times(backbone: str, steps: int) -> list[StepTime]:
    """Times of the steps of all loops.

    The loops take turns step by step, so that whatever slows the machine slows all of them; `Timer` times one function
    after the other, which does not give comparable ratios on a busy machine.
    """
    auto = pick_precision("auto", CPU)
    loops = {"plain loop, float32": _loop(PlainLoop, backbone, "official", "float32", (), frozen=False)}
    for name, (preset, precision, overrides) in LOOPS.items():
        precision = pick_precision(precision, CPU)
        loops[f"{name}, {precision}"] = _loop(Optimisation, backbone, preset, precision, overrides)
    loops["Splice terms of quick, no bank, float32"] = _splice_of_quick(backbone, "float32", NO_BANK)
    loops[f"Splice terms of quick, bank, {auto}"] = _splice_of_quick(backbone, auto, ())
    times: dict[str, list[float]] = {name: [] for name in loops}
    for step in range(WARM_UP + steps):
        for name, loop in loops.items():
            start = perf_counter()
            next(loop)
            seconds = perf_counter() - start
            if step >= WARM_UP:
                times[name].append(seconds)
    plain = next(iter(times.values()))
    return [StepTime(name, statistics.median(seconds), _ratios(seconds, plain)) for name, seconds in times.items()]


def _ratios(seconds: list[float], plain: list[float]) -> dict[str, float]:
    ratios = [loop / reference for loop, reference in zip(seconds, plain, strict=True)]
    return {"median": statistics.median(ratios), "minimum": min(ratios), "maximum": max(ratios)}


def _loop(
    kind: type[Optimisation],
    backbone: str,
    preset: str,
    precision: str,
    overrides: tuple[str, ...],
    frozen: bool = True,
) -> Iterator[Step]:
    settings = settings_for(preset, backbone=backbone, precision=precision, size=SIZE, overrides=overrides)
    return kind(_problem(settings, _new_backbone(backbone, precision, frozen))).steps()


def _splice_of_quick(backbone: str, precision: str, extra: tuple[str, ...]) -> Iterator[Step]:
    """The two terms of Splice, in every step, with the generator of `quick`, which needs no identity term."""
    terms = settings_for("quick", backbone=backbone).terms
    other_terms = [f"terms.{term}.weight=0" for term in terms if term not in SPLICE_TERMS]
    in_every_step = [f"terms.{term}.every=1" for term in SPLICE_TERMS]
    overrides = (*other_terms, *in_every_step, "start=structure", f"resize.size={SIZE}", *extra)
    settings = settings_for("quick", backbone=backbone, precision=precision, size=SIZE, overrides=overrides).model_copy(
        update={"stages": (), "steps": MAX_STEPS + WARM_UP}
    )
    return Optimisation(_problem(settings, _new_backbone(backbone, precision))).steps()


def _new_backbone(backbone: str, precision: str, frozen: bool = True) -> Backbone:
    network: Any = build_part(catalogue().backbones[backbone], None)
    if not frozen:
        network.requires_grad_(True)
    loaded: Backbone = network.to(CPU, DTYPES[precision])
    return loaded


def _problem(settings: RunConfig, network: Backbone) -> Problem:
    structure, appearance = (resize_to(read(path).pixels, SIZE) for path in example())
    images = RunImages({"structure": structure, "appearance": appearance, "start": structure})
    name = next(iter(settings.backbones))
    settings = settings.model_copy(update={"backbones": {name: settings.backbone}})
    return assemble(Components.build(settings, {name: network}, catalogue()), images)
