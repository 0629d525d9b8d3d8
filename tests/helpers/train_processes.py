"""Take steps of a tiny training in one of several processes, and write its state and gradients.

python -m torch.distributed.run --nproc_per_node=2 tests/helpers/train_processes.py SETTINGS CACHE OUT IMAGE...
"""

import sys
from pathlib import Path

from safetensors.torch import save_file

from vitsplice.datasets import Pair
from vitsplice.presets.loading import load
from vitsplice.training.data import TrainingData
from vitsplice.training.loop import Training
from vitsplice.training.parts import TrainingParts
from vitsplice.training.processes import processes_on


def main(settings, cache, out, images):
    processes = processes_on("cpu")
    parts = TrainingParts.build(load(Path(settings).read_text(), "tiny"))
    pairs = [Pair(f"{a}--{b}", Path(a), Path(b)) for a in images for b in images if a != b]
    with processes.main_first():
        data = TrainingData.prepare(parts.recipe, pairs, Path(cache))
    training = Training(parts, data, processes)
    losses = [step.total for step in training.steps()]
    gradients = {f"gradient.{name}": each.grad for name, each in training.generator.named_parameters()}
    state = {name: value.clone() for name, value in (training.state() | gradients).items()}
    metadata = {"losses": " ".join(map(repr, losses)), "count": str(processes.count)}
    save_file(state, f"{out}-{processes.index}.safetensors", metadata)


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])
