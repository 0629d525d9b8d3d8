"""How often intervals and tests are right of pairs whose true mean is known: python tests/helpers/coverage.py [TIMES]

The two tables of docs/evaluation.md on intervals: of independent pairs, and of pairs that share images.
"""

import sys
from functools import partial

import numpy as np

from vitsplice.metrics.statistics import mean_with_interval, paired_test


def normal(rng, pairs):
    return rng.normal(size=pairs)


def log_normal(rng, pairs):
    """With a true mean of 0."""
    return rng.lognormal(size=pairs) - np.exp(0.5)


def nested(rng, structures, each):
    """So many structure images with so many appearance images of their own: effects of both and of the pair."""
    shared = rng.normal(size=(structures, 1))
    return (shared + rng.normal(size=(structures, each)) + rng.normal(size=(structures, each))).ravel()


def crossed(rng, structures, appearances):
    """Every structure image with every appearance image."""
    shared = rng.normal(size=(structures, 1)) + rng.normal(size=(1, appearances))
    return (shared + rng.normal(size=(structures, appearances))).ravel()


def samples(draw, times):
    return (draw(np.random.default_rng(seed)) for seed in range(times))


def held(draw, times):
    """How often the interval holds the mean, 0."""
    means = map(mean_with_interval, samples(draw, times))
    return f"{sum(mean.low <= 0 <= mean.high for mean in means) / times:.0%}"


def rejected(draw, times):
    """How often two methods without a difference are told apart."""
    tests = (paired_test(values, np.zeros_like(values)) for values in samples(draw, times))
    return f"{sum(test.p < 0.05 for test in tests) / times:.0%}"


def main(times):
    for name, draw in (("normal", normal), ("log-normal", log_normal)):
        for pairs in (3, 5, 10, 20, 50, 100):
            print(f"{name}, {pairs} pairs: {held(partial(draw, pairs=pairs), times)}", flush=True)
    draws = {f"{s} structure images with {n} appearance images each": partial(nested, structures=s, each=n)
             for s, n in ((100, 1), (100, 3), (20, 5))}  # fmt: skip
    draws["10 structure images with 10 appearance images, every pair"] = partial(crossed, structures=10, appearances=10)
    for name, draw in draws.items():
        print(f"{name}: {held(draw, times)}, p < 0.05 {rejected(draw, times)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
