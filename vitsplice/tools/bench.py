"""Benchmarks of this machine.

Results include ratios, because only times of the same call of `bench` are comparable.

The plain loop takes the steps of the preset `official`, but each image of each term has a backbone pass of its own, in
float32, and, as in the released code, gradients of the backbone's weights are computed too.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from vitsplice.backbones.inputs import fitting_size
from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone, FeatureRequest, Features
from vitsplice.engine.backbones import DTYPES, load_configured
from vitsplice.engine.device import pick_precision
from vitsplice.engine.images import RunImages
from vitsplice.engine.loop import Optimisation, Problem
from vitsplice.engine.problem import Components, assemble, check_before_loading
from vitsplice.engine.terms import WeightedTerm
from vitsplice.engine.values import Step
from vitsplice.errors import Argument, UnknownName, UserError
from vitsplice.images import example, read, resize_to
from vitsplice.plugins import catalogue
from vitsplice.plugins.build import build_part
from vitsplice.presets.settings import settings_for
from vitsplice.rng import stream
from vitsplice.testing.backbones import networks_of
from vitsplice.text import printable
from vitsplice.tools.processes import time_one_and_two
from vitsplice.tools.run_times import run_times

SIZE = 224
"""Shorter side of the images in ``steps`` and side of the images in ``passes``, in pixels.

``passes`` also times two and three times this side.
"""

CPU = torch.device("cpu")
"""Device of all benchmarks except ``run`` and ``processes``."""

MAX_STEPS = 1000
"""Maximum number of timed steps of a loop."""

WARM_UP = 3
"""Number of steps at the beginning of a loop that are not timed.

They allocate memory and fill the bank of views, and step 0 of `official` and `paper` has other terms than step 1.
"""

BENCHMARKS = {
    "processes": "a run as a process: alone, and two at once",
    "steps": "steps of presets, compared with the plain loop",
    "passes": "passes of the backbone, compared with matrix multiplication",
    "run": "the parts of a run, and the share of each backbone",
}
"""Names and descriptions of the benchmarks, in the order in which they are run.

``processes`` comes first, while this process is small: on Linux the peak memory of a process is never below that of the
process that started it.
"""

SPLICE_TERMS = ("structure", "appearance")
"""The terms of `quick` that Splice has, too."""

NO_BANK = ("views.structure.bank=null", "views.appearance.bank=null")
"""Overrides: new views in each step, so that their target features are computed."""

BANK = ("views.structure.bank=1", "views.appearance.bank=1")
"""Overrides: one view of each image, so that every timed step uses stored target features."""

LOOPS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "official": ("official", "float32", ()),
    "official, bank": ("official", "auto", BANK),
    "paper": ("paper", "float32", ()),
}
"""Loops with all terms of a preset, by name: preset, precision, overrides.

`loops_by_name` adds the plain loop, and loops with only the Splice terms of `quick`.
"""


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


def bench(
    settings: RunConfig,
    command: Callable[[Path], Sequence[str]],
    backbone: str | None = None,
    steps: int = 8,
    names: Sequence[str] = tuple(BENCHMARKS),
    note: Callable[[str], object] = lambda _: None,
    done: Callable[[str, Any], object] = lambda name, result: None,
) -> dict[str, Any]:
    """Run benchmarks.

    Args:
        settings: settings of the run that is timed, on the packaged pair.
        command: function that returns a command for the same run, which writes to the given folder.
        backbone: backbone of ``steps`` and ``passes``; None: that of the preset ``official``, or its fallback.
        steps: number of timed steps of each loop, from 1 to `MAX_STEPS`.
        names: names of the benchmarks: keys of `BENCHMARKS`.
        note: called with the description of each benchmark before it starts.
        done: called with "machine" and its data, then with the name and the result of each benchmark as soon as it has
            ended.

    Returns:
        Results by name, as plain data for JSON. "machine" has the number of threads and the version of torch.

    Raises:
        UserError: before all benchmarks, if ``steps`` is out of range, or ``names`` has a name that does not exist.
        UnknownName, ConfigError: before all benchmarks, if the settings are for training, or ``settings`` or
            ``backbone`` names a backbone (without a fallback), generator, loss term or option that does not exist.
        VitspliceError: if a backbone cannot be loaded, or a command fails.
    """
    _check_arguments(steps, names)
    for checked in (settings, settings_for("official", backbone=backbone)):
        check_before_loading(checked, catalogue())
    measurements: dict[str, Callable[[], Any]] = {
        "processes": lambda: process_times(command),
        "steps": lambda: step_times(available_name(backbone), steps),
        "passes": lambda: pass_times(available_name(backbone)),
        "run": lambda: {"preset": settings.preset, "parts": [asdict(part) for part in run_times(*example(), settings)]},
    }
    results: dict[str, Any] = {"machine": {"threads": torch.get_num_threads(), "torch": torch.__version__}}
    done("machine", results["machine"])
    for name, description in BENCHMARKS.items():
        if name in names:
            note(description)
            results[name] = measurements[name]()
            done(name, results[name])
    return results


def _check_arguments(steps: int, names: Sequence[str]) -> None:
    if not 1 <= steps <= MAX_STEPS:
        raise UserError(Argument("steps", steps), f" is not allowed; it must be from 1 to {MAX_STEPS}")
    for name in names:
        if name not in BENCHMARKS:
            raise UnknownName(f"no benchmark '{printable(name)}'; available are {', '.join(BENCHMARKS)}")


def available_name(backbone: str | None) -> str:
    """Return the name of a backbone after loading it, which checks that it is available.

    For None, this is the backbone of the preset ``official``, or its first available fallback.
    """
    loaded, _ = load_configured(settings_for("official", backbone=backbone).backbone, catalogue())
    return loaded.info.name


def process_times(command: Callable[[Path], Sequence[str]]) -> dict[str, Any]:
    """Time and memory of a command in one process, and in two at once, as plain data."""
    one, two = time_one_and_two(command)
    return {"one": asdict(one), "two": asdict(two), "two_to_one": two.seconds / one.seconds}


def pass_times(backbone: str) -> dict[str, Any]:
    """Rates of matrix multiplication, the share of them that a backbone reaches, and times of its passes.

    A pass is a forward and a backward pass. Images have the accepted size nearest to `SIZE`. The times by size also
    include the accepted sizes nearest to two and three times `SIZE`.

    Returns:
        Plain data: rates in GFLOP/s and shares by precision, seconds by image size and by number of views.
    """
    # bfloat16 is left out where it is emulated, because its passes would take minutes
    precisions = dict.fromkeys(("float32", pick_precision("auto", CPU)))
    rates = {precision: matmul_rate(DTYPES[precision]) for precision in precisions}
    shares = {precision: share_of_rate(_new_backbone(backbone, precision), rates[precision]) for precision in rates}
    network = _new_backbone(backbone, "float32")
    sizes = list(dict.fromkeys(fitting_size(network.info, side, side) for side in (SIZE, 2 * SIZE, 3 * SIZE)))
    return {
        "backbone": backbone,
        "matmul_gflops": rates,
        "share_of_matmul_rate": shares,
        "seconds_by_size": {"{}x{}".format(*size): pass_seconds(network, 1, size) for size in sizes},
        "seconds_by_views": {str(number): pass_seconds(network, number, sizes[0]) for number in (1, 2, 4, 8)},
    }


def matmul_rate(dtype: torch.dtype, side: int = 2048) -> float:
    """GFLOP/s of a square matrix multiplication."""
    matrix = torch.rand(side, side, generator=stream(0, "bench")).to(dtype)
    return 2 * side**3 / best_seconds(lambda: matrix @ matrix, 12) / 1e9


def share_of_rate(network: Backbone, gflops: float) -> float:
    """Fraction of a rate in GFLOP/s that forward and backward passes of two images reach."""
    size = fitting_size(network.info, SIZE, SIZE)
    seconds = best_seconds(lambda: _pass(network, 2, size), 6)
    return pass_flops(network, 2, size) / seconds / 1e9 / gflops


def pass_flops(network: Backbone, number: int, size: tuple[int, int]) -> int:
    """Count the floating-point operations of a forward and backward pass of ``number`` images of a height and width.

    torch has formulas only for fused attention on GPUs; they also hold for fused attention on CPUs.
    """
    from torch.utils.flop_counter import FlopCounterMode, flop_registry

    aten = torch.ops.aten
    counter = FlopCounterMode(display=False)
    counter.flop_registry |= {
        aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
        aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
            aten._scaled_dot_product_flash_attention_backward
        ],
    }
    with counter:
        _pass(network, number, size)
    return int(counter.get_total_flops())


def pass_seconds(network: Backbone, number: int, size: tuple[int, int]) -> float:
    """Seconds of a forward and backward pass of ``number`` images of a height and width."""
    return best_seconds(lambda: _pass(network, number, size), 3)


def best_seconds(function: Callable[[], object], repeats: int) -> float:
    """The shortest time in seconds of ``repeats`` calls, after one call that is not timed."""
    function()
    return min(_seconds(function) for _ in range(repeats))


def _seconds(function: Callable[[], object]) -> float:
    start = perf_counter()
    function()
    return perf_counter() - start


def _pass(network: Backbone, number: int, size: tuple[int, int]) -> None:
    batch = torch.full((number, 3, *size), 0.5, requires_grad=True)
    requests = [network.info.appearance, network.info.structure]
    features = network(batch, requests)
    torch.stack([features[request].values.sum() for request in requests]).sum().backward()  # type: ignore[no-untyped-call]


def step_times(backbone: str, steps: int) -> list[dict[str, Any]]:
    """Times of the steps of all loops.

    The loops take turns step by step, so that what slows the machine slows all of them.

    Returns:
        Plain data of each loop: ``loop``, its name; ``seconds``, the median over the steps; and ``of_plain``, the
        median, the minimum and the maximum over the steps of the ratio of a step's time to the time of the plain loop's
        step with the same index.
    """
    loops = loops_by_name(backbone)
    times: dict[str, list[float]] = {name: [] for name in loops}
    for step in range(WARM_UP + steps):
        for name, loop in loops.items():
            seconds = _seconds(partial(next, loop))
            if step >= WARM_UP:
                times[name].append(seconds)
    plain = next(iter(times.values()))
    return [
        {"loop": name, "seconds": statistics.median(seconds), "of_plain": _ratios(seconds, plain)}
        for name, seconds in times.items()
    ]


def loops_by_name(backbone: str) -> dict[str, Iterator[Step]]:
    """Return the steps of all loops by name, the plain loop first."""
    auto = pick_precision("auto", CPU)
    loops = {"plain loop, float32": _loop(PlainLoop, backbone, "official", "float32", (), frozen=False)}
    for name, (preset, precision, overrides) in LOOPS.items():
        precision = pick_precision(precision, CPU)
        loops[f"{name}, {precision}"] = _loop(Optimisation, backbone, preset, precision, overrides)
    loops["Splice terms of quick, no bank, float32"] = _splice_of_quick(backbone, "float32", NO_BANK)
    loops[f"Splice terms of quick, bank, {auto}"] = _splice_of_quick(backbone, auto, BANK)
    return loops


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


def _splice_of_quick(backbone: str, precision: str, bank: tuple[str, ...]) -> Iterator[Step]:
    """Return the steps of a loop with the generator of `quick` and only its two terms of Splice, both in every step.

    Splice's identity term is not needed with this generator. The loop starts from the structure image.
    """
    terms = settings_for("quick", backbone=backbone).terms
    other_terms = [f"terms.{term}.weight=0" for term in terms if term not in SPLICE_TERMS]
    in_every_step = [f"terms.{term}.every=1" for term in SPLICE_TERMS]
    overrides = (*other_terms, *in_every_step, "start=structure", f"backbone.side={SIZE}", *bank)
    settings = settings_for("quick", backbone=backbone, precision=precision, size=SIZE, overrides=overrides).model_copy(
        update={"stages": (), "steps": MAX_STEPS + WARM_UP}
    )
    return Optimisation(_problem(settings, _new_backbone(backbone, precision))).steps()


def _new_backbone(backbone: str, precision: str, frozen: bool = True) -> Backbone:
    network = build_part(catalogue().backbones[backbone], None)
    if not frozen:
        for module in networks_of(network):
            module.requires_grad_(True)
    return network.to(CPU, DTYPES[precision])


def _problem(settings: RunConfig, network: Backbone) -> Problem:
    structure, appearance = (resize_to(read(path).pixels, SIZE) for path in example())
    images = RunImages({"structure": structure, "appearance": appearance, "start": structure})
    name = next(iter(settings.backbones))
    settings = settings.model_copy(update={"backbones": {name: settings.backbone}})
    return assemble(Components.build(settings, {name: network}, catalogue()), images)
