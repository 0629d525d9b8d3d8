import pytest
import torch

from vitsplice.engine.device import is_emulated, pick_device, pick_precision
from vitsplice.errors import UserError


def test_auto_selects_an_available_accelerator():
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick_device("auto").type == expected


@pytest.mark.parametrize("name", ["tpu", "cpu:3", "cpu:256", "cuda:99", "meta", ""])
def test_unavailable_device_is_refused_with_the_available_ones(name):
    with pytest.raises(UserError, match=r"unavailable here; available are .*cpu and auto|allowed are auto, cpu, cuda"):
        pick_device(name)


def test_explicit_precision_is_used_and_auto_depends_on_the_device():
    cpu = torch.device("cpu")
    assert pick_precision("float32", cpu) == "float32"
    assert pick_precision("bfloat16", cpu) == "bfloat16"
    assert pick_precision("auto", cpu) in {"float32", "bfloat16"}
    assert pick_precision("auto", torch.device("mps")) == "float32"


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_emulated_by_a_cpu_without_instructions_for_it(native, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    cpu = torch.device("cpu")
    assert is_emulated("bfloat16", cpu) is not native
    assert pick_precision("auto", cpu) == ("bfloat16" if native else "float32")
    assert not is_emulated("float32", cpu)
    assert not is_emulated("bfloat16", torch.device("mps"))
