from types import SimpleNamespace

import pytest
import torch

from vitsplice.cli.train import display_of, introduce
from vitsplice.engine.values import Step


@pytest.fixture
def shown(capsys):
    """Function that returns the lines that process ``index`` of two prints for two steps of a training."""

    def show(index, resumed_at=0, accumulation=1):
        training = SimpleNamespace(
            parts=SimpleNamespace(
                config=SimpleNamespace(steps=3, device="cpu", seed=0),
                generator_spec=SimpleNamespace(name="tint"),
                recipe=SimpleNamespace(backbones={}),
                training=SimpleNamespace(batch=2, accumulation=accumulation),
            ),
            processes=SimpleNamespace(main=index == 0, count=2),
            generator=torch.nn.Linear(2, 1),
        )
        recorder = SimpleNamespace(training=training, resumed_at=resumed_at)
        with display_of(recorder, lambda: 0.0) as progress:
            introduce(recorder, progress)
            for step in range(resumed_at, resumed_at + 2):
                progress.step(Step(step, 1.5, {"appearance": 1.5}))
        return capsys.readouterr().err.splitlines()

    return show


def test_first_step_and_sizes_are_printed(shown):
    assert shown(0) == [
        "generator tint, 0.0 million weights, on cpu",
        "3 steps of 2 pairs in each of 2 processes, seed 0",
        "1/3  total 1.5  appearance 1.5",
    ]


def test_number_of_accumulated_batches_is_printed(shown):
    assert shown(0, accumulation=3)[1] == "3 steps of 3 batches of 2 pairs in each of 2 processes, seed 0"


def test_resumption_and_the_first_step_after_it_are_printed(shown):
    assert shown(0, resumed_at=1)[2:] == [
        "resuming after step 1",
        "2/3  total 1.5  appearance 1.5",
        "3/3  total 1.5  appearance 1.5",
    ]


def test_other_processes_print_nothing(shown):
    assert shown(1) == []
