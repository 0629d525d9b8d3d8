"""How long a step of `official` takes, as a ratio to plain loops over the same losses.

The plain loop passes every picture of every term through the backbone by itself: six passes a step, where the
engine makes two (one for the outputs, one without gradients for the targets). It comes in two kinds: `frozen`
computes no gradients of the backbone's weights, as the engine does; `as released` leaves them on, as the released
code does. All are timed in turn in this one process, step by step, in float32, at 224 px, on the packaged pair.
Only the ratios mean anything.

    python examples/benchmark_step.py [--backbone NAME] [--steps N]
"""

import argparse
import statistics
import time

import torch

from vitsplice.api import load_backbone, settings_for
from vitsplice.engine.loop import Optimisation
from vitsplice.engine.problem import assemble
from vitsplice.images import example, read, resize_to
from vitsplice.plugins import catalogue

SIZE = 224


class PlainLoop(Optimisation):
    """The same steps, but each term passes its output and its target through the backbone by itself."""

    def _losses(self, index, active):
        views = self._views(index)
        seen = {place: views[place](self.images[place[0]]) for term in active for place in (term.input, term.target)}
        made = self._generate({term.input: seen[term.input] for term in active}, views)
        return {term.name: self._alone(term, made[term.input], seen[term.target]) for term in active}

    def _alone(self, term, output, target):
        requests = list(term.term.requests)
        with torch.no_grad():
            wanted = self._extract({term.target: target}, requests)[term.target]
        return term.term.function(self._extract({term.input: output}, requests)[term.input], wanted)


def seconds(steps):
    began = time.perf_counter()
    next(steps)
    return time.perf_counter() - began


def loop(kind, backbone, frozen=True):
    """The steps of an optimisation of its own, after those that warm up (step 0 is another one)."""
    pictures = [resize_to(read(path).pixels, SIZE) for path in example()]
    settings = settings_for("official", backbone=backbone, size=SIZE, precision="float32")
    network = load_backbone(backbone).requires_grad_(not frozen)
    steps = kind(assemble(settings, *pictures, network, catalogue(), torch.device("cpu"))).steps()
    for _ in range(3):
        next(steps)
    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="dinov2-vits14-offline")
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()

    loops = {
        "vitsplice": loop(Optimisation, arguments.backbone),
        "plain, frozen": loop(PlainLoop, arguments.backbone),
        "plain, as released": loop(PlainLoop, arguments.backbone, frozen=False),
    }
    times = {name: [] for name in loops}
    for _ in range(arguments.steps):
        for name, steps in loops.items():
            times[name].append(seconds(steps))
    print(f"{arguments.backbone}, {SIZE} px, float32, {torch.get_num_threads()} threads, {arguments.steps} steps each")
    for name, taken in times.items():
        ratios = [ours / theirs for ours, theirs in zip(times["vitsplice"], taken, strict=True)]
        share = f"{statistics.median(ratios):.2f} of it ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name:<20} {statistics.median(taken):.2f} s a step; vitsplice costs {share}")


if __name__ == "__main__":
    main()
