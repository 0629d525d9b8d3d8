"""Plugin with Ray as an executor of batches. Ray is imported only when a batch starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vitsplice.contracts import Executor, ExecutorSpec, Option
from vitsplice.errors import ConfigError
from vitsplice.hookspecs import hookimpl

OPTIONS = {
    "address": Option("local", "address of a cluster, host:port; auto: find one; local: start one on this machine"),
    "cpus": Option(0.0, "CPUs that a run takes of its node; 0: as many as the run has threads", minimum=0),
    "gpus": Option(0.0, "GPUs that a run takes of its node: a fraction of one GPU, or a whole number", minimum=0),
    "resources": Option({}, "custom resources that a run takes of its node, such as {a100: 1}"),
    "node_losses": Option(20, "number of further attempts at a run whose process or node died", minimum=0),
    "ahead": Option(
        1.0,
        "without --workers, number of runs queued in Ray per run that the cluster has room for",
        minimum=0,
        maximum=10,
    ),
}

PREDEFINED = ("CPU", "GPU", "memory", "object_store_memory")
"""Resources of Ray that are not custom."""

LEAST = 0.0001
"""The smallest amount of a resource that Ray distinguishes from 0."""


def build(workers: int, threads: int, options: Mapping[str, Any]) -> Executor:
    """Build the executor. ``threads`` 0 means 1 for each run; ``workers`` 0 means as many as the cluster has room for.

    Raises:
        ConfigError: if an amount of a resource is not allowed.
    """
    from vitsplice_ray.executor import RayExecutor, RunResources

    for name, amount in options["resources"].items():
        is_number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if name in PREDEFINED or not is_number or not LEAST <= amount < math.inf:
            raise ConfigError(
                f"resources: {name}: {amount!r} is not allowed; give the amount of a custom resource, a finite number "
                f"of at least {LEAST:g} (CPU and GPU are the options cpus and gpus; memory cannot be given)"
            )
    for name in ("cpus", "gpus"):
        if not (options[name] == 0 or LEAST <= options[name] < math.inf):
            raise ConfigError(f"{name}: {options[name]!r} is not allowed; give 0, or a number of at least {LEAST:g}")
    if (gpus := options["gpus"]) > 1 and gpus != int(gpus):
        raise ConfigError(f"gpus: {gpus:g} is not allowed; give a fraction of one GPU, such as 0.5, or a whole number")
    threads = threads or 1
    resources = RunResources(options["cpus"] or threads, gpus, options["resources"])
    return RayExecutor(workers, threads, options["address"], resources, options["node_losses"], options["ahead"])


@hookimpl
def vitsplice_executors() -> list[ExecutorSpec]:
    """Return the executor ``ray``."""
    return [ExecutorSpec("ray", build, "a Ray cluster of any number of machines that share a folder", OPTIONS)]
