"""A run on a large image in a process of its own, whose peak memory is that of the run."""

import resource

import vitsplice


def run_quick(words):
    """Run four steps of `quick`, one of them on tiles; print the shape of the output and the peak memory in MiB.

    The images are matched on a coarse grid: its memory does not depend on their size.
    """
    result = vitsplice.splice(*words, preset="quick", steps=4, overrides=["match.grid=20"])
    print(*result.pixels.shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    return 0
