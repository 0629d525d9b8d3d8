"""The state of torch that results depend on: set while vitsplice computes, and restored afterwards.

A host program may have changed torch's default dtype or device, its gradient, inference or autocast mode, the precision
of float32 products, or the kernels in use. Each change can alter the bytes of a run or make the run fail. Part of that
state belongs to the thread, part to the process. The state of the process is restored when the last computing thread
returns; until then, other threads of the host program are affected too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from operator import attrgetter
from typing import Any

import torch

SUBNORMAL = 5e-324
"""The smallest positive double. Its product with 1 is 0 if subnormal numbers are flushed."""


@dataclass(frozen=True)
class TorchSetting:
    """A global setting of torch.

    Args:
        name: name in ``run.json``.
        read: function that returns the current value.
        write: function that sets the value.
        value: value while vitsplice computes.
        accepted: other values that are left as they are.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    value: Any
    accepted: tuple[Any, ...] = ()

    def apply(self, stack: ExitStack) -> None:
        """Set the value; closing the stack restores the former one."""
        before = self.read()
        if before != self.value and before not in self.accepted:
            self.write(self.value)
            stack.callback(self.write, before)


@cache
def process_settings() -> tuple[TorchSetting, ...]:
    """Return the settings that all threads share, in the order in which they are applied."""
    cuda = torch.backends.cuda
    return (
        TorchSetting("default_dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        # General settings first: a specific "none" reads as the general value, and would be restored to that value.
        _backend("fp32_precision", "none"),
        _onednn_precision(),
        _backend("cudnn.fp32_precision", "none"),
        TorchSetting("float32_matmul_precision", _matmul_precision, _set_matmul_precision, "highest", (None,)),
        *(_backend(f"mkldnn.{op}.fp32_precision", "ieee", "none") for op in ("matmul", "conv", "rnn")),
        _backend("cuda.matmul.fp32_precision", "ieee", "none"),
        *(_backend(f"cudnn.{op}.fp32_precision", "tf32") for op in ("conv", "rnn")),
        TorchSetting(
            "deterministic_algorithms", deterministic_mode, set_deterministic_mode, (False, False), ((False, True),)
        ),
        *(_backend(name, True) for name in ("mkldnn.enabled", "cudnn.enabled")),
        *(_backend(name, False) for name in ("mkldnn.deterministic", "cudnn.deterministic", "cudnn.benchmark")),
        TorchSetting(
            "mha_fastpath", torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled, True
        ),
        TorchSetting("flash_sdp", cuda.flash_sdp_enabled, cuda.enable_flash_sdp, True),
        TorchSetting("math_sdp", cuda.math_sdp_enabled, cuda.enable_math_sdp, True),
        TorchSetting("mem_efficient_sdp", cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, True),
        TorchSetting("cudnn_sdp", cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, True),
    )


def _backend(name: str, value: Any, *accepted: Any) -> TorchSetting:
    """Return a setting that is an attribute of ``torch.backends``."""
    owner, _, attribute = name.rpartition(".")
    module = attrgetter(owner)(torch.backends) if owner else torch.backends
    return TorchSetting(name, partial(getattr, module, attribute), partial(setattr, module, attribute), value, accepted)


def _onednn_precision() -> TorchSetting:
    """Return the setting of oneDNN's precision.

    ``torch.backends.mkldnn.fp32_precision`` is not used: it reads this precision, but sets that of all backends.
    """
    general = type(attrgetter("mkldnn.matmul")(torch.backends))("mkldnn", "all")
    read, write = partial(getattr, general, "fp32_precision"), partial(setattr, general, "fp32_precision")
    return TorchSetting("mkldnn.fp32_precision", read, write, "none")


def _matmul_precision() -> str | None:
    """Return torch's older precision setting; None if the newer settings contradict it, because torch then raises."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def _set_matmul_precision(precision: str) -> None:
    """Set torch's older setting, and restore the newer ones, which torch changes with it."""
    newer = attrgetter("cuda.matmul", "mkldnn.matmul")(torch.backends)
    before = [setting.fp32_precision for setting in newer]
    torch.set_float32_matmul_precision(precision)
    for setting, value in zip(newer, before, strict=True):
        setting.fp32_precision = value


def deterministic_mode() -> tuple[bool, bool]:
    """Return whether torch uses only deterministic algorithms, and whether it merely warns of others."""
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def set_deterministic_mode(mode: tuple[bool, bool]) -> None:
    """Set the mode that `deterministic_mode` returned."""
    torch.use_deterministic_algorithms(mode[0], warn_only=mode[1])


class _ProcessSettings:
    """Applies the settings of the process while at least one thread computes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries = 0
        self._applied = ExitStack()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Apply the settings at the first entry, of any thread, and restore them at the last exit."""
        with self._lock:
            if not self._entries:
                with ExitStack() as stack:
                    for setting in process_settings():
                        setting.apply(stack)
                    self._applied = stack.pop_all()
            self._entries += 1
        try:
            yield
        finally:
            with self._lock:
                self._entries -= 1
                if not self._entries:
                    self._applied.close()


_PROCESS = _ProcessSettings()


@contextmanager
def numerics(*, grad: bool | None = True) -> Iterator[None]:
    """Context manager and decorator: compute with torch's default state, whatever the caller's state is.

    Args:
        grad: enable gradients; None keeps the caller's mode.
    """
    enable_grad = torch.is_grad_enabled() if grad is None else grad
    with ExitStack() as stack:
        stack.enter_context(_PROCESS.applied())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(enable_grad))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if SUBNORMAL * 1.0 == 0.0 and torch.set_flush_denormal(False):
            stack.callback(torch.set_flush_denormal, True)
        yield


def describe() -> dict[str, Any]:
    """Return the CPU instruction set and the process settings with which vitsplice computes, for ``run.json``."""
    values = {setting.name: setting.value for setting in process_settings()}
    values |= {"default_dtype": "float32", "deterministic_algorithms": False}
    return {"cpu_capability": torch.backends.cpu.get_cpu_capability(), **values}
