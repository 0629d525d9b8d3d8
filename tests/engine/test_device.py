import pytest
import torch

from vitsplice.engine.device import pick_device, pick_precision
from vitsplice.errors import UserError


def test_auto_takes_an_accelerator_where_there_is_one():
    there = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick_device("auto").type == there


@pytest.mark.parametrize("name", ["tpu", "cpu:3", "cuda:99", "meta", ""])
def test_a_device_that_is_not_here_is_told(name):
    with pytest.raises(UserError, match=r"unavailable here; available are .*cpu and auto|allowed are auto, cpu, cuda"):
        pick_device(name)


def test_precision_is_what_was_asked_or_one_of_the_two():
    cpu = torch.device("cpu")
    assert pick_precision("float32", cpu) == "float32"
    assert pick_precision("bfloat16", cpu) == "bfloat16"
    assert pick_precision("auto", cpu) in {"float32", "bfloat16"}
    assert pick_precision("auto", torch.device("mps")) == "float32"
