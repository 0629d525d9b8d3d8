"""Choice of device and precision."""

from __future__ import annotations

import torch

from vitsplice.errors import UserError


def pick_device(name: str) -> torch.device:
    """Return a device by name; ``auto`` prefers CUDA, then MPS, then the CPU.

    Raises:
        UserError: if there is no such device, or it is unavailable on this machine.
    """
    available = _available()
    if name == "auto":
        return torch.device(available[0])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"there is no device '{name}'; allowed are auto, cpu, cuda, cuda:N and mps") from error
    is_exact = str(device) == str(name)  # torch wraps a large index: "cuda:256" gives cuda:0
    if not is_exact or device.type not in available or not _is_valid_index(device):
        raise UserError(f"device '{name}' is unavailable here; available are {', '.join(available)} and auto")
    return device


def _available() -> list[str]:
    accelerators = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())]
    return [name for name, available in accelerators if available] + ["cpu"]


def _is_valid_index(device: torch.device) -> bool:
    if device.type != "cuda":
        return not device.index
    return device.index is None or device.index < torch.cuda.device_count()


def pick_precision(name: str, device: torch.device) -> str:
    """Return ``float32`` or ``bfloat16``; ``auto`` is bfloat16 if the device supports it in hardware."""
    return ("bfloat16" if _has_native_bfloat16(device) else "float32") if name == "auto" else name


def is_emulated(precision: str, device: torch.device) -> bool:
    """Return whether the device is a CPU that computes this precision in software, which is slower than float32."""
    return device.type == "cpu" and precision == "bfloat16" and not _has_native_bfloat16(device)


def _has_native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
