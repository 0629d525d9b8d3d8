"""What a batch shows while it goes: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vitsplice.cli.progress import PLAIN_EVERY, Display

if TYPE_CHECKING:
    from vitsplice.batch.driver import Tally
    from vitsplice.contracts import Outcome

REDRAW = 0.1
"""Seconds between two looks of the bar."""

SHOWN = 10
"""Reasons of failures that are told at the end; all are in a file."""

MANY = 100
"""The last reasons that were told, which are not told again."""


class Standing(Display):
    """Shows a batch on standard error. Use it in ``with``."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self._bar = Progress(
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total)
        self._told: deque[str] = deque(maxlen=MANY)
        self._began = self._last = perf_counter()

    def __enter__(self) -> Standing:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def show(self, tally: Tally, outcome: Outcome | None) -> None:
        """Show how it stands after an outcome, or after something that was done before."""
        if outcome and outcome.reason and outcome.reason not in self._told:
            self.note(f"{outcome.id}: {outcome.state}: {outcome.reason}")
            self._told.append(outcome.reason)
        now = perf_counter()
        if now - self._last < (REDRAW if self._console.is_terminal else PLAIN_EVERY):
            return
        self._last = now
        if self._console.is_terminal:
            self._bar.update(self._task, completed=tally.total - tally.remaining, description=self._line(tally))
        else:
            self.note(f"{tally.total - tally.remaining}/{tally.total}  {self._line(tally)}")

    def _line(self, tally: Tally) -> str:
        rate = (tally.done + tally.failures) / (perf_counter() - self._began)
        eta = f"ETA {_span(tally.remaining / rate)}" if rate else "ETA unknown"
        done = tally.done_before + tally.done
        return f"{done} done, {tally.failures} failed, {tally.remaining} left  {rate * 60:.3g}/min  {eta}"

    def sum_up(self, tally: Tally, out: Path, *, stopped: bool) -> None:
        """Say at the end how it went, and on standard output where the results are."""
        from vitsplice.batch.plan import FAILURES, RESULTS
        from vitsplice.batch.records import failure_reasons

        before = f" ({tally.done_before} of them before)" if tally.done_before else ""
        self.note(f"{tally.done_before + tally.done} of {tally.total} runs done{before}, {tally.failures} failed")
        told = failure_reasons(out, SHOWN)
        for reason in told:
            others = f" and {reason.jobs - 1} others" if reason.jobs > 1 else ""
            self.note(f"  {reason.first}{others}: {reason.message}")
        if tally.failures:
            left = tally.failures - sum(reason.jobs for reason in told)
            self.note(f"  {f'and {left} more; ' if left else ''}all of them: {out / FAILURES}")
        if stopped and tally.remaining:
            self.note(f"stopped with {tally.remaining} left; the same command resumes")
        print(out / RESULTS, flush=True)


def _span(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
