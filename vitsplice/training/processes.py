"""The processes that train together: one, or several that ``accelerate launch`` or ``torchrun`` started."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vitsplice.engine.device import pick_device
from vitsplice.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator


TIMEOUT = timedelta(days=1)
"""Maximum time that processes wait for each other: the main one may prepare the features of all images for hours. A
process that hangs is noticed only after this time."""


class Processes:
    """The processes that train together, each on its own pairs of a step; this class is for a single process.

    Attributes:
        count: number of processes.
        index: index of this process; 0 is the main process, which writes all files.
        device: device of this process.

    Args:
        device: see `vitsplice.engine.device.pick_device`.
    """

    def __init__(self, device: str) -> None:
        self.count, self.index, self.device = 1, 0, pick_device(device)

    @property
    def main(self) -> bool:
        """Whether this is the main process."""
        return self.index == 0

    def wrapped(self, module: nn.Module) -> nn.Module:
        """Return a module with the same parameters whose gradients are averaged over the processes."""
        return module

    def gradients(self, module: nn.Module, *, averaged: bool) -> AbstractContextManager[None]:
        """Context for forward and backward pass of a wrapped module; averages gradients only if ``averaged``."""
        return nullcontext()

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes."""
        return values

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set in any process; all processes must call this method."""
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def main_first(self) -> AbstractContextManager[None]:
        """Context that the main process enters and leaves before the others enter."""
        return nullcontext()

    def wait(self) -> None:
        """Block until every process has called this (a barrier)."""


class SeveralProcesses(Processes):
    """The processes of a launcher, by Hugging Face ``accelerate``: one for each GPU, or on the CPU.

    The precision is set by the settings of the training, not by accelerate's configuration.

    Args:
        device: ``cpu``, or anything else for the device that accelerate assigns to the process.

    Raises:
        UserError: if accelerate is not installed.
    """

    def __init__(self, device: str) -> None:
        try:
            from accelerate import Accelerator, InitProcessGroupKwargs
        except ImportError as error:
            raise UserError(
                "training in several processes requires the package accelerate: pip install 'vitsplice[train]', or "
                "start a single process"
            ) from error
        self._accelerator: Accelerator = Accelerator(
            cpu=device == "cpu", mixed_precision="no", kwargs_handlers=[InitProcessGroupKwargs(timeout=TIMEOUT)]
        )
        self.count, self.index = self._accelerator.num_processes, self._accelerator.process_index
        self.device = torch.device("cpu") if device == "cpu" else self._accelerator.device

    def wrapped(self, module: nn.Module) -> nn.Module:
        """Return the module in torch's ``DistributedDataParallel``."""
        prepared: nn.Module = self._accelerator.prepare(module)
        return prepared

    def gradients(self, module: nn.Module, *, averaged: bool) -> AbstractContextManager[None]:
        """Context in which the backward pass averages gradients over the processes if ``averaged``."""
        context: AbstractContextManager[None] = nullcontext() if averaged else self._accelerator.no_sync(module)
        return context

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes."""
        mean: Tensor = self._accelerator.reduce(values, reduction="mean")
        return mean

    def main_first(self) -> AbstractContextManager[None]:
        """Context that the main process enters and leaves before the others enter."""
        context: AbstractContextManager[None] = self._accelerator.main_process_first()
        return context

    def wait(self) -> None:
        """Block until every process has called this (a barrier)."""
        self._accelerator.wait_for_everyone()


def processes_on(device: str) -> Processes:
    """Return the processes that train together: all that a launcher started, or this process alone.

    Args:
        device: device of the settings.

    Raises:
        UserError: if the device is unavailable, the environment variable WORLD_SIZE is not a number, or there are
            several processes and accelerate is not installed.
    """
    count = os.environ.get("WORLD_SIZE") or "1"
    if not (count.isascii() and count.isdecimal()):
        raise UserError(
            f"the environment variable WORLD_SIZE is {count!r}; it must be the number of processes of a launcher: "
            "unset it to train in a single process"
        )
    return SeveralProcesses(device) if int(count) > 1 else Processes(device)
