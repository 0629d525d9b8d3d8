"""Simulate the coverage of confidence intervals and the error rate of tests.

python tests/helpers/interval_coverage.py [TIMES]

Prints the two tables on intervals in docs/evaluation.md, for independent pairs and for pairs that share images, and the
coverage of the intervals of the rates that a study reports.
"""

import argparse
from functools import partial

import numpy as np

from vitsplice.metrics.statistics import mean_with_interval, paired_test
from vitsplice.study.rater_statistics import cluster_interval, wilson_interval


def normal(rng, pairs):
    return rng.normal(size=pairs)


def log_normal(rng, pairs):
    """Draw log-normal values with a true mean of 0."""
    return rng.lognormal(size=pairs) - np.exp(0.5)


def nested(rng, structures, each):
    """Draw sums of a structure, an appearance and a pair effect: ``each`` appearance images per structure image."""
    shared = rng.normal(size=(structures, 1))
    return (shared + rng.normal(size=(structures, each)) + rng.normal(size=(structures, each))).ravel()


def crossed(rng, structures, appearances):
    """Draw sums of a structure, an appearance and a pair effect, for all combinations of images."""
    shared = rng.normal(size=(structures, 1)) + rng.normal(size=(1, appearances))
    return (shared + rng.normal(size=(structures, appearances))).ravel()


def samples(draw, times):
    return (draw(np.random.default_rng(seed)) for seed in range(times))


def coverage(draw, times, **options):
    """Compute the fraction of simulated samples whose interval contains the true mean, 0."""
    means = (mean_with_interval(sample, **options) for sample in samples(draw, times))
    return sum(mean.low <= 0 <= mean.high for mean in means) / times


def rejections(draw, times):
    """Compute the fraction of simulated samples in which two equal methods differ significantly."""
    tests = (paired_test(values, np.zeros_like(values)) for values in samples(draw, times))
    return sum(test.p < 0.05 for test in tests) / times


def coverage_of_rates(spread, times, raters=25, trials=20, rate=0.8):
    """Compute the fractions of simulated studies whose intervals contain the rate.

    Args:
        spread: a + b of the beta distribution of the raters' rates; None for equal rates.

    Returns:
        fractions for the interval clustered by rater and for the interval over all trials.
    """
    rng = np.random.default_rng(1)
    hits = np.zeros(2)
    for study in range(times):
        rates = np.full(raters, rate) if spread is None else rng.beta(rate * spread, (1 - rate) * spread, raters)
        wins = rng.binomial(trials, rates)
        intervals = (
            cluster_interval(wins, np.full(raters, trials), study),
            wilson_interval(int(wins.sum()), raters * trials),
        )
        hits += [low <= rate <= high for low, high in intervals]
    return hits / times


def main(times):
    for name, draw in (("normal", normal), ("log-normal", log_normal)):
        for pairs in (3, 5, 10, 20, 50, 100):
            print(f"{name}, {pairs} pairs: {coverage(partial(draw, pairs=pairs), times):.0%}", flush=True)
    draws = {f"{s} structure images with {n} appearance images each": partial(nested, structures=s, each=n)
             for s, n in ((100, 1), (100, 3), (20, 5))}  # fmt: skip
    draws["10 structure images with 10 appearance images, every pair"] = partial(crossed, structures=10, appearances=10)
    for name, draw in draws.items():
        print(f"{name}: {coverage(draw, times):.0%}, p < 0.05 {rejections(draw, times):.0%}", flush=True)
    for name, spread in (("equal rates", None), ("rates of a beta distribution with a + b = 6", 6)):
        clustered, pooled = coverage_of_rates(spread, times)
        print(f"25 raters, {name}: clustered interval {clustered:.0%}, Wilson interval {pooled:.0%}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("times", type=int, nargs="?", default=1_000, help="number of simulated samples")
    main(parser.parse_args().times)
