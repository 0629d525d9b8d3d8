"""Live preview of a run in a Jupyter notebook, by updates of one display: no widgets, no server.

``vitsplice.splice("cat.jpg", "dog.jpg", on_step=vitsplice.notebook.Preview())`` shows the output as it changes.

Results need no preview. As the last value of a cell, a `vitsplice.Result` shows its output image, and a
`vitsplice.analysis.correspondence.ImageCorrespondence` shows a page in which patches can be selected.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from time import perf_counter
from typing import TYPE_CHECKING, Any

from vitsplice.errors import UserError
from vitsplice.support.page import data_uri
from vitsplice.support.step_rate import StepRate
from vitsplice.text import duration

if TYPE_CHECKING:
    from vitsplice.api import Run
    from vitsplice.engine.values import Step


class Preview:
    """Show the output image, the progress and the remaining time of a run while it takes its steps.

    One `Preview` may show several runs, each in a display of its own.

    Args:
        every: minimum number of seconds between two updates. The first and the last step are always shown.
        size: maximum length of the longer side of the image, in pixels.
        clock: returns the current time in seconds.

    Raises:
        UserError: if the size is not a number of at least 1 or ``every`` not one of at least 0, or IPython is not
            installed.
    """

    def __init__(self, every: float = 1.0, size: int = 512, clock: Callable[[], float] = perf_counter) -> None:
        _check("size", size, 1, "pixels")
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
        self._run: Run | None = None
        self._handle: Any = None

    def __call__(self, step: Step, run: Run) -> None:
        """Show a step, unless another was shown in the last ``every`` seconds. Always show the first and the last."""
        if run is not self._run:
            self._run, self._rate, self._handle = run, StepRate(clock=self._clock), None
        self._rate.step_done()
        if self._handle is None or run.finished or self._clock() - self._shown >= self._every:
            self._show(step, run)

    def _show(self, step: Step, run: Run) -> None:
        page = self._html(self._markup(step, run))
        if self._handle is None:
            self._handle = self._display(page, display_id=True)
        else:
            self._handle.update(page)
        self._shown = self._clock()

    def _markup(self, step: Step, run: Run) -> str:
        taken, total = step.index + 1, run.settings.steps
        text = f"step {taken} of {total}, loss {step.total:.4g}{self._time(run, total - taken)}"
        return (
            f'<figure style="margin:0"><img src="{data_uri(run.pixels(), self._size)}" alt="output after step {taken}" '
            f'style="max-width:100%"><figcaption><progress value="{taken}" max="{total}" style="width:12em" '
            f'aria-label="progress"></progress> {text}</figcaption></figure>'
        )

    def _time(self, run: Run, remaining: int) -> str:
        """Return the remaining time, "" if it is unknown; after the last step, the time that all steps took."""
        if not remaining:
            return f", {duration(run.seconds['steps'])}"
        return f", ETA {duration(self._rate.seconds * remaining)}" if self._rate.seconds else ""


def _check(name: str, value: object, minimum: int, unit: str) -> None:
    """Raise UserError unless a value is a number of at least ``minimum``; NaN is refused."""
    if not (isinstance(value, Real) and float(value) >= minimum):
        raise UserError(f"{name}={value!r} is not allowed; it must be at least {minimum}, in {unit}")
