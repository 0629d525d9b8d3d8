"""Checkpoints of any kind of work."""

from dataclasses import dataclass, field

import pytest
import torch
from safetensors.torch import load_file

from vitsplice.errors import CheckpointRejected
from vitsplice.support.checkpoints import CheckpointFormat


@dataclass
class Parsed:
    tensors: dict[str, torch.Tensor]
    belongs_to: dict[str, str] = field(default_factory=dict)


def format_of(**options):
    return CheckpointFormat("work", 1, lambda content, tensors: Parsed(tensors), **options)


def test_tensors_that_share_memory_are_stored_each(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    tensors = {"a": shared, "b": shared, "c": shared[1], "d": torch.ones(2)}
    format_of().write(tmp_path, 1, {}, tensors)
    stored = load_file(tmp_path / "step-00000001.safetensors")
    assert stored.keys() == tensors.keys()
    assert all(torch.equal(stored[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(("selectable", "advice"), [(True, "resume with resume="), (False, "valid; remove ")])
def test_advice_for_a_damaged_checkpoint_is_what_the_work_offers(tmp_path, selectable, advice):
    checkpoints = format_of(selectable=selectable)
    for step in (1, 2):
        checkpoints.write(tmp_path, step, {}, {"a": torch.zeros(1)})
    (tmp_path / "step-00000002.json").write_text("{")
    with pytest.raises(CheckpointRejected, match=advice):
        checkpoints.read_last(tmp_path)
