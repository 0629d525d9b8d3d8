"""Errors that callers can catch.

A message is a sequence of text, arguments and settings. ``str(error)`` formats arguments as in Python (``size=96``);
the command line formats them as its options (``--size 96``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from vitsplice.text import one_line


@dataclass(frozen=True)
class Argument:
    """An argument of a function, and the command line's option of the same name.

    Args:
        name: name of the argument.
        value: given or suggested value; None: only the argument is mentioned.
    """

    name: str
    value: object = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value!r}"


@dataclass(frozen=True)
class Setting:
    """A setting of a run or of a training, as in ``overrides``.

    Args:
        key: dotted key.
        value: given or suggested value; None: only the key is mentioned.
    """

    key: str
    value: object = None

    def __str__(self) -> str:
        return self.key if self.value is None else f"{self.key}={self.value}"


ALLOCATION_FAILURES = (
    "can't allocate memory",
    "Invalid buffer size",
    "out of memory",
    "not enough memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
)
"""Texts in the RuntimeErrors of torch's allocators (of MPS, too), cuBLAS and cuDNN if there is not enough memory."""

INTERRUPTS = (KeyboardInterrupt, GeneratorExit)
"""Exceptions that end a plugin's code from outside. All others are errors of the plugin, also those that are derived
from BaseException alone, such as a panic of an extension in Rust."""

MessagePart = str | Argument | Setting
"""Part of a message."""


def format_message(parts: Iterable[MessagePart], write: Callable[[Argument | Setting], str] = str) -> str:
    """Format a message as text, with the function ``write`` for its arguments and settings."""
    return "".join(part if isinstance(part, str) else write(part) for part in parts)


class VitspliceError(Exception):
    """Base class of the errors that callers can catch.

    A `UserError` means that the request cannot be carried out as given (it is invalid, or memory, disk space or the
    output folder is not available); any other error means that a valid request failed. The exit code of the command
    line is 2 for a `UserError` and for a failed allocation, and 1 for any other error.

    Args:
        parts: parts of the message, which should say what was given, what is allowed and what to do next.
    """

    def __init__(self, *parts: MessagePart) -> None:
        super().__init__(*parts)

    @property
    def parts(self) -> tuple[MessagePart, ...]:
        """Message as a sequence of text, arguments and settings."""
        return self.args

    def __str__(self) -> str:
        return format_message(self.parts)


class UserError(VitspliceError):
    """The request is invalid, or memory, disk space or the output folder it needs is not available (exit code 2)."""


class ConfigError(UserError):
    """A setting has an unknown key, a wrong type or a value out of range, or does not fit the other settings."""


class ImageError(UserError):
    """An image or a video cannot be read, or its type, its size or one of its values is not allowed."""


class ImageNotFound(ImageError):
    """An image file does not exist, or was removed."""


class UnknownName(UserError):
    """No part (backbone, loss term, ...), plugin, tag of weights, benchmark or example pair has this name."""


class UnknownKeyword(UserError, TypeError):
    """A function was called with a keyword argument that it does not accept."""


class PluginConflict(UserError):
    """Two plugins provide a part of the same kind and name."""


class PathRejected(UserError):
    """A path leads out of its folder, is not allowed in it (an absolute path), or is not of the required type."""


class OutputExists(UserError):
    """The output folder already holds results, or the output file exists."""


class OutputBusy(UserError):
    """Another process is writing to the output folder, or to the cache of a training."""


class AlreadyFinished(UserError):
    """The run to resume is already finished."""


class CheckpointRejected(UserError):
    """A file from which work is resumed is truncated, corrupt or of another format, or does not fit the work."""


class TrainingCacheError(UserError):
    """A cache of features of training images is damaged or cannot be used, or there is not enough space for it."""


class OutOfMemory(UserError):
    """There is not enough memory for a run, a training, a video or the output of a model."""


class WeightsUnavailable(VitspliceError):
    """Pretrained weights are neither in a file, nor cached, nor reachable, or a package that they need is missing."""


class WeightsRejected(UserError):
    """A weights file is missing or corrupt, does not fit the network, or has another SHA-256 than required."""


class ModelRejected(UserError):
    """A folder holds no trained model, or one that is damaged or does not fit (format, generator, backbone, digest)."""


class PartRejected(VitspliceError):
    """The ``build`` of a part failed, or what it built cannot be used.

    ``build`` raised an unexpected exception, or returned an object of another class than its kind requires; or a
    generator has no parameters to optimise, has state that is not a tensor, or returned no valid image.
    """


class LossTermRejected(VitspliceError):
    """The value of a loss term cannot be optimised: it is not a scalar, or has no gradient."""


class NonFiniteLoss(VitspliceError):
    """A loss term, or the gradient of the total, became NaN or infinite.

    Attributes:
        step: index of the step, from 0; the message counts from 1.
        term: name of the first term that was not finite, or "" for the gradient.
        value: value of the term, or norm of the gradient: NaN or infinite.
    """

    def __init__(self, step: int, term: str, value: float) -> None:
        quantity = f"term '{term}'" if term else "the gradient of the total"
        weight: tuple[MessagePart, ...] = (" a lower ", Setting(f"terms.{term}.weight"), ",") if term else ()
        super().__init__(
            f"{quantity} became {value} at step {step + 1}; try a lower ",
            Setting("optimiser.lr"),
            ",",
            *weight,
            " or ",
            Setting("precision", "float32"),
        )
        self.step = step
        self.term = term
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.step, self.term, self.value), self.__dict__


def allocation_failure(error: BaseException) -> str | None:
    """Return the message of a failed allocation on any device; None for any other error.

    Only the first line that is not blank is returned, without anything up to ``DefaultCPUAllocator: ``, cut to 160
    characters. If all lines are blank, the error's type is returned.
    """
    text = str(error)
    by_torch = isinstance(error, RuntimeError) and any(failure in text for failure in ALLOCATION_FAILURES)
    if not by_torch and not isinstance(error, MemoryError):
        return None
    line = next(filter(None, map(str.strip, text.splitlines())), type(error).__name__)
    return line.partition("DefaultCPUAllocator: ")[2][:160] or line[:160]


def reason(error: BaseException) -> str:
    """Return the reason of any failure on one line, for records."""
    if failure := allocation_failure(error):
        return one_line(f"out of memory ({failure})")
    return one_line(str(error) if isinstance(error, VitspliceError) else f"{type(error).__name__}: {error}")
