"""The errors a caller may want to catch. Their message is for the person who typed the command."""


class VitspliceError(Exception):
    """Something failed although what was asked for was sound (the command line exits with 1)."""


class UserError(VitspliceError):
    """What was asked for cannot be done as asked; the message says what can (exit code 2)."""


class ConfigError(UserError):
    """A setting has an unknown key, a wrong type or a value out of range."""


class PictureError(UserError):
    """A picture cannot be read, or is too small or too large."""


class NotThere(PictureError):
    """The file of a picture does not exist."""


class UnknownName(UserError):
    """No backbone, loss term, generator, metric, preset or executor of that name is registered."""


class PluginConflict(UserError):
    """Two plugins give the same name for the same kind of thing."""


class OutputExists(UserError):
    """The output folder already holds a run."""


class OutputBusy(UserError):
    """Another run is writing to the output folder."""


class AlreadyFinished(UserError):
    """The run that was to go on has taken all its steps."""


class CheckpointRejected(UserError):
    """A checkpoint is cut short or altered, or is of other pictures, settings or weights."""


class OutOfMemory(UserError):
    """There is not enough memory for a run of this size."""


class WeightsUnavailable(VitspliceError):
    """Pretrained weights are neither in a file, nor in the cache, nor reachable."""


class WeightsRejected(UserError):
    """A weights file was found and is not what it should be."""


class NonFiniteLoss(VitspliceError):
    """A loss term, or the gradient of the total, became NaN or infinite.

    Attributes:
        step: the step (from 0) at which it was seen.
        term: the name of the first term that was not finite, or "" for the gradient.
    """

    def __init__(self, step: int, term: str, value: float) -> None:
        what = f"term '{term}'" if term else "the gradient of the total"
        weight = f"a lower --set terms.{term}.weight=..., " if term else ""
        super().__init__(
            f"{what} became {value} at step {step}; the generator was put back to the last good step. "
            f"Try a lower --set optimiser.lr=..., {weight}or --precision float32."
        )
        self.step = step
        self.term = term


def used_up(error: BaseException) -> str | None:
    """What an allocation that failed says, on one line, on any device; None if the error is another one."""
    text = str(error)
    told = "can't allocate memory" in text or "out of memory" in text  # torch's are RuntimeErrors
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) and told):
        return None
    line = (text.splitlines() or [type(error).__name__])[0]
    return line.partition("DefaultCPUAllocator: ")[2][:160] or line[:160]
