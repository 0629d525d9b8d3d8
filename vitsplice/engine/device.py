"""Which device and which precision."""

from __future__ import annotations

import torch

from vitsplice.errors import UserError


def pick_device(name: str) -> torch.device:
    """A device by name; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        UserError: for a device that is unknown or not on this machine.
    """
    here = _here()
    if name == "auto":
        return torch.device(here[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in here or not _has_index(device):
        raise UserError(f"device '{name}' is not on this machine; it has {', '.join(here)} (or say auto)")
    return device


def _here() -> list[str]:
    accelerators = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())]
    return [name for name, there in accelerators if there] + ["cpu"]


def _has_index(device: torch.device) -> bool:
    if device.type != "cuda":
        return not device.index
    return device.index is None or device.index < torch.cuda.device_count()


def pick_precision(name: str, device: torch.device) -> str:
    """``float32`` or ``bfloat16``; ``auto`` takes bfloat16 where the device multiplies it natively."""
    return ("bfloat16" if _fast_bfloat16(device) else "float32") if name == "auto" else name


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
