"""The errors a caller may want to catch, and how their messages name an argument or a setting.

A message is text, with the arguments and settings that would help as data in it. ``str(error)`` writes them as Python
does (``size=96``); the command line writes them as its options (``--size 96``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vitsplice.text import nearest, one_line


@dataclass(frozen=True)
class Argument:
    """An argument of a function, and the option of that name on the command line.

    Args:
        name: as Python spells it.
        value: to be given; None names only the argument.
    """

    name: str
    value: object = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value!r}"


@dataclass(frozen=True)
class Setting:
    """A setting of a run by its dotted key, as ``overrides`` takes it.

    Args:
        key: dotted.
        value: to be given; None names only the key.
    """

    key: str
    value: object = None

    def __str__(self) -> str:
        return self.key if self.value is None else f"{self.key}={self.value}"


Part = str | Argument | Setting
"""A message is a sequence of these."""


def format_message(parts: Iterable[Part], write: Callable[[Argument | Setting], str] = str) -> str:
    """A message as text; ``write`` says how an argument or a setting is written."""
    return "".join(part if isinstance(part, str) else write(part) for part in parts)


class VitspliceError(Exception):
    """Something failed although what was asked for was sound (the command line exits with 1).

    Args:
        parts: the message: what was given, what is allowed, and what to do next.
    """

    def __init__(self, *parts: Part) -> None:
        super().__init__(*parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The message, with arguments and settings as data."""
        return self.args

    def __str__(self) -> str:
        return format_message(self.parts)


class UserError(VitspliceError):
    """What was asked for cannot be done as asked; the message says what can (exit code 2)."""


class ConfigError(UserError):
    """A setting has an unknown key, a wrong type or a value out of range."""


class ImageError(UserError):
    """An image cannot be read, or is too small or too large."""


class ImageNotFound(ImageError):
    """The file of an image does not exist."""


class UnknownName(UserError):
    """No backbone, loss term, generator, metric, preset or executor of that name is registered."""


class UnknownKeyword(UserError, TypeError):
    """A function was called with a keyword argument that it does not take."""


class PluginConflict(UserError):
    """Two plugins give the same name for the same kind of thing."""


class PathRejected(UserError):
    """A name leads out of the folder that it has to stay in."""


class OutputExists(UserError):
    """The output folder already holds a run."""


class OutputBusy(UserError):
    """Another run is writing to the output folder."""


class AlreadyFinished(UserError):
    """The run that was to go on has taken all its steps."""


class CheckpointRejected(UserError):
    """A checkpoint is cut short or altered, or is of other images, settings or weights."""


class OutOfMemory(UserError):
    """There is not enough memory for a run of this size."""


class WeightsUnavailable(VitspliceError):
    """Pretrained weights are neither in a file, nor in the cache, nor reachable."""


class WeightsRejected(UserError):
    """A weights file was found and is not what it should be."""


class LossTermRejected(VitspliceError):
    """A loss term returned something that cannot be optimised: not a scalar, or without a gradient."""


class NonFiniteLoss(VitspliceError):
    """A loss term, or the gradient of the total, became NaN or infinite.

    Attributes:
        step: the step (from 0) at which it was seen.
        term: the name of the first term that was not finite, or "" for the gradient.
    """

    def __init__(self, step: int, term: str, value: float) -> None:
        what = f"term '{term}'" if term else "the gradient of the total"
        weight: tuple[Part, ...] = (" a lower ", Setting(f"terms.{term}.weight"), ",") if term else ()
        super().__init__(
            f"{what} became {value} at step {step}; the generator was put back to the last good step. Try a lower ",
            Setting("optimiser.lr"),
            ",",
            *weight,
            " or ",
            Argument("precision", "float32"),
        )
        self.step = step
        self.term = term


def check_keywords(function: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise UnknownKeyword, with the nearest name and all names, unless every keyword is allowed.

    Args:
        function: its name, for the message.
        given: keywords that it was called with.
        allowed: keywords that it takes.
    """
    names = list(allowed)
    for name in given:
        if name not in names:
            taken = f"it takes {', '.join(names)}.{nearest(name, names)}"
            raise UnknownKeyword(f"{function}() has no argument '{name}'; {taken}")


def allocation_failure(error: BaseException) -> str | None:
    """What an allocation that failed says, on one line, on any device; None if the error is another one."""
    text = str(error)
    told = "can't allocate memory" in text or "out of memory" in text  # torch's are RuntimeErrors
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) and told):
        return None
    line = (text.splitlines() or [type(error).__name__])[0]
    return line.partition("DefaultCPUAllocator: ")[2][:160] or line[:160]


def reason(error: BaseException) -> str:
    """Why something failed, on one line, for a record: any exception, also of a plugin or of an allocation."""
    if what := allocation_failure(error):
        return one_line(f"out of memory ({what})")
    return one_line(str(error) if isinstance(error, VitspliceError) else f"{type(error).__name__}: {error}")
