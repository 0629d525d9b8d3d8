"""Live preview of a run in a Jupyter notebook, by updates of one display: no widgets, no server.

``vitsplice.splice("cat.jpg", "dog.jpg", on_step=vitsplice.notebook.Preview())`` shows the output as it changes.

Results need no preview. As the last value of a cell, a `vitsplice.Result` shows its output image, and a
`vitsplice.analysis.correspondence.ImageCorrespondence` shows a page in which patches can be selected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from vitsplice.errors import UserError
from vitsplice.support.page import data_uri
from vitsplice.support.step_rate import StepRate
from vitsplice.text import duration

if TYPE_CHECKING:
    from vitsplice.api import Run
    from vitsplice.engine.values import Step


@dataclass
class _Display:
    """Display of a run.

    Args:
        rate: rate of the run's steps.
        handle: handle of IPython's display; None before the first step.
        last_update: time of the last update in seconds.
    """

    rate: StepRate
    handle: Any = None
    last_update: float = 0.0


class Preview:
    """Show the output image, the progress and the remaining time of a run while it takes its steps.

    One `Preview` may show several runs, also interleaved ones, each in a display of its own.

    Args:
        every: minimum number of seconds between two updates. The first and the last step are always shown.
        size: maximum length of the longer side of the image, in pixels.
        clock: returns the current time in seconds.

    Raises:
        UserError: if the size is not a finite number of at least 1, ``every`` is not a number of at least 0, or
            IPython is not installed.
    """

    def __init__(self, every: float = 1.0, size: int = 512, clock: Callable[[], float] = perf_counter) -> None:
        _check("size", size, 1, "pixels")
        if math.isinf(size):
            raise UserError(f"size={size!r} is not allowed; it must be finite, in pixels")
        _check("every", every, 0, "seconds")
        try:
            from IPython.display import HTML, display
        except ImportError as error:
            raise UserError(
                "a preview in a notebook requires the package IPython: pip install ipython; elsewhere, pass a "
                "function of your own as on_step"
            ) from error
        self._html: Any = HTML
        self._display: Any = display
        self._every, self._size, self._clock = every, size, clock
        self._displays: WeakKeyDictionary[Run, _Display] = WeakKeyDictionary()

    def __call__(self, step: Step, run: Run) -> None:
        """Show a step, unless another was shown in the last ``every`` seconds. Always show the first and the last."""
        if run not in self._displays:
            self._displays[run] = _Display(StepRate(clock=self._clock))
        display = self._displays[run]
        display.rate.step_done()
        if display.handle is None or run.finished or self._clock() - display.last_update >= self._every:
            self._show(step, run, display)

    def _show(self, step: Step, run: Run, display: _Display) -> None:
        page = self._html(self._markup(step, run, display.rate))
        if display.handle is None:
            display.handle = self._display(page, display_id=True)
        else:
            display.handle.update(page)
        display.last_update = self._clock()

    def _markup(self, step: Step, run: Run, rate: StepRate) -> str:
        taken, total = step.index + 1, run.settings.steps
        text = f"step {taken} of {total}, loss {step.total:.4g}{_time(run, total - taken, rate)}"
        return (
            f'<figure style="margin:0"><img src="{data_uri(run.pixels(), self._size)}" alt="output after step {taken}" '
            f'style="max-width:100%"><figcaption><progress value="{taken}" max="{total}" style="width:12em" '
            f'aria-label="progress"></progress> {text}</figcaption></figure>'
        )


def _time(run: Run, remaining: int, rate: StepRate) -> str:
    """Return the remaining time, "" if it is unknown; after the last step, the time that all steps took."""
    if not remaining:
        return f", {duration(run.seconds['steps'])}"
    return f", ETA {duration(rate.seconds * remaining)}" if rate.seconds else ""


def _check(name: str, value: object, minimum: int, unit: str) -> None:
    """Raise UserError unless a value is a number of at least ``minimum``; NaN and truth values are refused."""
    if isinstance(value, bool) or not (isinstance(value, Real) and float(value) >= minimum):
        raise UserError(f"{name}={value!r} is not allowed; it must be a number of at least {minimum}, in {unit}")
