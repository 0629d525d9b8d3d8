"""A run on tiles in a process of its own, whose peak memory is that of the run."""

import resource

import vitsplice

STAGE = "{side: 724, tile: 256, share: 1, terms: [statistics, edges, smoothness]}"


def run_quick(words):
    """Run a step of `quick` on nine tiles; print the shape of the output and the peak memory in MiB.

    The images are matched on a coarse grid: its memory does not depend on their size.
    """
    overrides = ["match.grid=8", f"stages=[{STAGE}]", "metrics=none"]
    result = vitsplice.splice(*words, preset="quick", steps=1, overrides=overrides)
    print(*result.pixels.shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    return 0
