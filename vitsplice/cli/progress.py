"""Progress on standard error: a live bar on a terminal that can redraw it, elsewhere a line about every 10 seconds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Self, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from vitsplice.cli.interrupt import Interrupt, announce
from vitsplice.cli.output import on_terminal
from vitsplice.support.progress import ProgressReporter
from vitsplice.support.step_rate import StepRate
from vitsplice.text import duration, plain, truncate, with_count

if TYPE_CHECKING:
    from vitsplice.batch.driver import Tally
    from vitsplice.contracts import Backbone, Outcome
    from vitsplice.engine.values import Step

Output = TypeVar("Output")

MAX_NAME = 60
"""Maximum number of characters that are shown of the name of a part."""

STOPPING = "\nstopping after the current part; press Ctrl-C again to end now"
"""Text printed at the first Ctrl-C or SIGTERM during work in parts."""

LINE_EVERY = 10.0
"""Minimum number of seconds before another line of progress where there is no bar.

Notes, and lines of the first and last step, do not wait.
"""

SHOWN_REASONS = 10
"""Maximum number of failure reasons that a batch prints at its end; a file lists all failures."""


class _Bar(Progress):
    """A progress bar with a line of text below it."""

    text = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.text)


class _Elapsed(ProgressColumn):
    """The time since the work began. The work may continue after its last part, for example with a report."""

    def render(self, task: Task) -> Text:
        return Text(duration(task.elapsed or 0.0), style="progress.elapsed")


class ProgressDisplay:
    """A progress bar with lines above it, as a context manager.

    Args:
        total: number of steps, parts or jobs; None: unknown.
        clock: returns the current time in seconds.
        quiet: print nothing.
    """

    def __init__(
        self, total: int | None = None, clock: Callable[[], float] = perf_counter, *, quiet: bool = False
    ) -> None:
        self._clock = clock
        self._console = Console(stderr=True, highlight=False, quiet=quiet)
        self._live = on_terminal(self._console) and not self._console.is_dumb_terminal
        self._bar = _Bar(
            BarColumn(bar_width=30), MofNCompleteColumn(), _Elapsed(), TextColumn("{task.fields[eta]}"),
            console=self._console, transient=True, disable=not self._live, get_time=clock,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total, eta="")
        self._last_line = -math.inf

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def note(self, line: str, style: str = "") -> None:
        """Print a line above the bar. Only the terminal folds it, so that a path or command can be copied."""
        self._console.print(Text(plain(line), style=style), soft_wrap=True)

    def _show(self, done: int, total: int, text: str, eta: str, *, always: bool = False) -> None:
        """Update the bar.

        Without a bar, print a line if ``always`` is set, or `LINE_EVERY` seconds have passed since the last one.
        """
        self._bar.text = plain(text)
        self._bar.update(self._task, completed=done, total=total, eta=eta)
        if not self._live and (always or self._clock() - self._last_line >= LINE_EVERY):
            self._last_line = self._clock()
            self.note("  ".join(filter(None, [f"{done}/{total}", text, eta])))


class StepProgress(ProgressDisplay):
    """The progress of an optimisation: losses, rate and remaining time of its steps.

    Args:
        total: number of steps.
        resumed_at: number of steps that were taken before the work was resumed; 0 if it is new.
        clock: returns the current time in seconds.
        quiet: print nothing.
    """

    def __init__(
        self, total: int, resumed_at: int, clock: Callable[[], float] = perf_counter, *, quiet: bool = False
    ) -> None:
        super().__init__(total, clock, quiet=quiet)
        self._total, self._always_printed = total, (resumed_at + 1, total)
        self._rate = StepRate(clock=clock)

    def step(self, step: Step) -> None:
        """Show the losses of a step; without a bar, the first and the last step always have a line."""
        self._rate.step_done()
        taken, seconds = step.index + 1, self._rate.seconds
        losses = (f"{name} {value:.4g}" for name, value in step.losses.items())
        rate = f"{1 / seconds:.2f} steps/s" if seconds else ""
        text = "  ".join(filter(None, [f"total {step.total:.4g}", *losses, rate]))
        eta = f"ETA {duration(seconds * (self._total - taken))}" if seconds and taken < self._total else ""
        self._show(taken, self._total, text, eta, always=taken in self._always_printed)

    def introduce_backbones(self, backbones: Iterable[Backbone]) -> None:
        """Print name, network, licence and origin of the weights of each backbone."""
        for backbone in backbones:
            info = backbone.info
            self.note(f"backbone {info.name} ({info.model}, {info.licence}), weights: {info.source}")


class PartsProgress(ProgressDisplay):
    """The progress of work in parts.

    The work has one or more phases. Each phase counts its own parts, from 0 unless the phase is resumed.
    """

    _done, _total = math.inf, 0
    _phase_began = 0.0, 0
    """Time and number of done parts when the phase began or was resumed."""

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show the name of the current part, or of a step within that part, and the number of parts that are done."""
        if done < self._done or total != self._total:
            self._phase_began = self._clock(), done
        self._done, self._total = done, total
        began, done_before = self._phase_began
        eta = ""
        if done not in (done_before, total):
            eta = f"ETA {duration((self._clock() - began) / (done - done_before) * (total - done))}"
        self._show(done, total, truncate(plain(name), MAX_NAME), eta)


class BatchProgress(ProgressDisplay):
    """The progress of a batch.

    Args:
        total: number of jobs.
    """

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._began = self._clock()
        self._reasons: deque[str] = deque(maxlen=100)

    def show(self, tally: Tally, outcome: Outcome | None) -> None:
        """Show the tally after an outcome, and print the reason of the outcome unless it was printed recently."""
        if outcome and outcome.reason and outcome.reason not in self._reasons:
            self.note(f"{outcome.id}: {outcome.state}: {outcome.reason}")
            self._reasons.append(outcome.reason)
        ended = tally.done + tally.failures
        rate = ended / (self._clock() - self._began)
        eta = ""
        if tally.remaining:  # 0 while failed runs are retried
            eta = f"ETA {duration(tally.remaining / rate)}" if ended else "ETA unknown"
        counts = f"{tally.done_before + tally.done} done, {tally.failures} failed, {tally.remaining} left"
        self._show(tally.total - tally.remaining, tally.total, f"{counts}  {rate * 60:.3g}/min", eta)

    def summarise(self, tally: Tally, out: Path, *, stopped: bool) -> None:
        """Print the result of the batch on standard error, and the path of its results on standard output."""
        from vitsplice.batch.plan import FAILURES, RESULTS
        from vitsplice.batch.records import failure_reasons
        from vitsplice.support.jsonl import read_records

        before = f" ({tally.done_before} of them by earlier commands)" if tally.done_before else ""
        self.note(f"{tally.done_before + tally.done} of {tally.total} runs done{before}, {tally.failures} failed")
        shown = failure_reasons(read_records(out / FAILURES), SHOWN_REASONS)
        for reason in shown:
            others = f" and {with_count(reason.jobs - 1, 'other')}" if reason.jobs > 1 else ""
            self.note(f"  {reason.first}{others}: {reason.message}")
        if tally.failures:
            more = tally.failures - sum(reason.jobs for reason in shown)
            self.note(f"  {f'and {more} more; ' if more else ''}all failures: {out / FAILURES}")
        if stopped:
            self.note(f"stopped with {tally.unfinished} left; the same command resumes the batch")
        print(out / RESULTS, flush=True)


@contextmanager
def parts_progress(*, stopped: bool = False) -> Iterator[ProgressReporter]:
    """Report the parts of long work; the first Ctrl-C or SIGTERM stops it after the current part.

    Args:
        stopped: whether the user has asked for a stop already.
    """
    with Interrupt(partial(announce, STOPPING)) as interrupt, PartsProgress() as display:
        yield ProgressReporter(display, display.note, lambda: stopped or interrupt.requested)


def unless_stopped(output: Output | None) -> Output:
    """Return the output of long work; exit with status 130 if it is None because the work was stopped."""
    if output is None:
        typer.echo("stopped; the same command resumes the work, and does not repeat finished parts", err=True)
        raise typer.Exit(130)
    return output
