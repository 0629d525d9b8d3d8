"""The plugin: Ray as an executor of batches. Nothing of Ray is imported before a batch begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitsplice.contracts import Executor, ExecutorSpec, Option
from vitsplice.hookspecs import hookimpl

OPTIONS = {
    "address": Option("local", "of a cluster, as host:port; auto finds one, local starts one on this machine"),
    "cpus": Option(0.0, "that a run takes of its node; 0: as many as it has threads", minimum=0),
    "gpus": Option(0.0, "that a run takes of its node; Ray gives it that part of one", minimum=0),
    "resources": Option({}, "of one's own that a run takes, such as {a100: 1}"),
    "node_losses": Option(20, "how often a run whose process or node died is given to another", minimum=0),
    "ahead": Option(1.0, "runs that wait in Ray for each that the cluster has room for", minimum=0, maximum=10),
}


def build(workers: int, threads: int, options: Mapping[str, Any]) -> Executor:
    """The executor; by itself it has a thread a run, and as many runs as the cluster has room for."""
    from vitsplice_ray.executor import Ray, Task

    threads = threads or 1
    task = Task(options["cpus"] or threads, options["gpus"], options["resources"], options["node_losses"])
    return Ray(workers, threads, options["address"], task, options["ahead"])


@hookimpl
def vitsplice_executors() -> list[ExecutorSpec]:
    """Ray."""
    return [ExecutorSpec("ray", build, "a Ray cluster of any number of machines that share a folder", OPTIONS)]
