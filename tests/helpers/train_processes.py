"""Take steps of a tiny training in one of several processes, and write its state and gradients."""

from pathlib import Path

from safetensors.torch import save_file
from torch.distributed.launcher import LaunchConfig, elastic_launch

from vitsplice.datasets import Pair
from vitsplice.presets.loading import load
from vitsplice.training.loop import Training
from vitsplice.training.parts import TrainingParts
from vitsplice.training.prepare import prepared_data
from vitsplice.training.processes import processes_on


def main(settings, cache, out, images):
    processes = processes_on("cpu")
    parts = TrainingParts.build(load(Path(settings).read_text(), "tiny"))
    pairs = [Pair(f"{a}--{b}", Path(a), Path(b)) for a in images for b in images if a != b]
    with processes.main_first():
        data = prepared_data(parts.recipe, pairs, Path(cache))
    training = Training(parts, data, processes)
    losses = [step.total for step in training.steps()]
    gradients = {f"gradient.{name}": each.grad for name, each in training.generator.named_parameters()}
    state = {name: value.clone() for name, value in (training.state() | gradients).items()}
    metadata = {"losses": " ".join(map(repr, losses)), "count": str(processes.count)}
    save_file(state, f"{out}-{processes.index}.safetensors", metadata)


def launch(words):
    """Train in several processes, which the launcher of `torchrun` forks from this one.

    Args:
        words: number of processes, then the arguments of `main`, one word for each image.
    """
    import accelerate  # noqa: F401  imported once, before the fork

    number, *paths = words
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=int(number),
        local_addr="127.0.0.1",
        run_id="training",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="fork",  # safe: there are no threads before the first computation
    )
    elastic_launch(config, main)(*paths[:3], paths[3:])
    return 0
