"""A run on tiles that a test calls in a new process, so that the growth of its peak memory is due to the run alone."""

import json
import resource

import vitsplice


def run_on_tiles(images):
    """Run one step of the last stage of `quick`, at 512 px on four tiles.

    Print the shape of the output, and the MiB by which the peak memory grew. The images are matched on a coarse grid:
    the memory of the matching depends on the grid, not on the size of the images.
    """
    stage = vitsplice.settings_for("quick").stages[-1].model_dump(mode="json")
    stages = json.dumps([stage | {"side": 512, "tile": 256, "share": 1.0}])
    before = peak()
    overrides = ["match.grid=8", "metrics=none", f"stages={stages}"]
    result = vitsplice.splice(*images, preset="quick", steps=1, overrides=overrides)
    print(*result.pixels.shape, (peak() - before) // 1024)
    return 0


def peak():
    """Maximum memory of this process so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
