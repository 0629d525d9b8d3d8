"""Progress on standard error: a live bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Self, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from vitsplice.cli.interrupt import Interrupt
from vitsplice.cli.output import option
from vitsplice.metrics.leakage import REMARKS
from vitsplice.runs.record import describe_sizes, image_names, is_inversion
from vitsplice.support.progress import ProgressReporter
from vitsplice.support.step_rate import StepRate
from vitsplice.text import plain, truncate

if TYPE_CHECKING:
    from vitsplice.batch.driver import Tally
    from vitsplice.contracts import Outcome
    from vitsplice.engine.values import Step
    from vitsplice.images import LoadedImage
    from vitsplice.runs.artifacts import RunFolder
    from vitsplice.runs.result import Result
    from vitsplice.runs.run import Run

Output = TypeVar("Output")

WIDEST = 60
"""Maximum number of characters of the name of a part."""

MOST_SETTINGS = 600
"""Maximum number of characters of a list of settings."""

LINE_EVERY = 10.0
"""Seconds between lines where standard error is not a terminal."""

LONG = 20 * 60.0
"""Expected seconds of a run above which its duration is printed as a warning."""

SHORT = 15 * 60.0
"""Seconds of the shorter run that the warning suggests."""

ESTIMATED_AFTER = 3
"""Number of timed steps from which the duration of a run is estimated."""

SHOWN_REASONS = 10
"""Maximum number of failure reasons that a batch prints at its end; a file lists all."""


class _Bar(Progress):
    """A progress bar with a line of text below it."""

    text = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.text)


class ProgressDisplay:
    """A bar, and lines above it. Use it as a context manager.

    Args:
        total: number of steps, parts or jobs; None: unknown.
        clock: returns the current time in seconds.
    """

    def __init__(self, total: int | None = None, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._console = Console(stderr=True, highlight=False)
        self._bar = _Bar(
            BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[eta]}"),
            console=self._console, transient=True, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total, eta="")
        self._began = self._clock()
        self._last_line = float("-inf")

    def __enter__(self) -> Self:
        self._began = self._clock()
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def note(self, line: str, style: str = "") -> None:
        """Print a line above the bar."""
        self._console.print(Text(plain(line), style=style), soft_wrap=not self._console.is_terminal)

    def _show(self, done: int, text: str, *, total: int | None = None, now: bool = False) -> None:
        """Update the bar; without a terminal print a line, at most every `LINE_EVERY` seconds unless ``now``."""
        total = total if total is not None else int(self._bar.tasks[0].total or 0)
        eta = self._eta(done, total)
        self._bar.text = plain(text)
        self._bar.update(self._task, completed=done, total=total, eta=eta)
        if self._console.is_terminal or not (now or self._clock() - self._last_line >= LINE_EVERY):
            return
        self._last_line = self._clock()
        self.note("  ".join(filter(None, [f"{done}/{total}", text, eta])))

    def _eta(self, done: int, total: int) -> str:
        """Return the time that remains, as text; "" if it is unknown."""
        elapsed = self._clock() - self._began
        return f"ETA {duration(elapsed / done * (total - done))}" if done else ""


class RunProgress(ProgressDisplay):
    """The progress of a run.

    Args:
        run: run that has not started, or was restored from a checkpoint.
        resume_command: command to print for a run that is stopped.
        clock: returns the current time in seconds.
    """

    def __init__(self, run: Run, resume_command: str, clock: Callable[[], float] = perf_counter) -> None:
        super().__init__(run.settings.steps, clock)
        self._run, self._resume_command = run, resume_command
        self._rate = StepRate(clock=clock)
        self._introduce()

    def _introduce(self) -> None:
        """Print inputs, backbone, settings, sizes, the resumed step and any substituted backbone."""
        settings = self._run.settings
        record = self._run.record()
        names = image_names(record)
        for role, image in list(self._run.images.items())[: 1 if is_inversion(record) else None]:
            height, width = image.pixels.shape[-2:]
            self.note(f"{names[role]} {image.name}, {width}x{height} px{_notes(image)}")
        for role, mask in self._run.masks.items():
            self.note(f"{role} mask {mask.name}, {float(mask.pixels.mean()):.0%} inside{_notes(mask)}")
        for backbone in self._run.backbones.values():
            info = backbone.info
            self.note(f"backbone {info.name} ({info.model}, {info.licence}), weights from {info.source}")
        preset = f"preset {settings.preset}, " if settings.preset else ""
        self.note(f"{preset}{settings.steps} steps on {settings.device} in {settings.precision}, seed {settings.seed}")
        self.note(describe_sizes(record["sizes"]))
        if self._run.resumed_at:
            self.note(f"resuming after step {self._run.resumed_at}")
        for substitution in self._run.substitutions.values():
            self.note(f"SUBSTITUTION: {substitution}", style="bold yellow")
        if self._run.changed_for_fallback:
            keys = truncate(", ".join(self._run.changed_for_fallback), MOST_SETTINGS)
            self.note(f"the preset has settings of its own for this fallback: {keys}", style="bold yellow")

    def step(self, step: Step) -> None:
        """Show the losses of a step; say once that a run will be long, and what would be shorter."""
        self._rate.step_done()
        taken = step.index + 1
        losses = (f"{name} {value:.4g}" for name, value in step.losses.items())
        rate = f"{1 / self._rate.seconds:.2f} steps/s" if self._rate.seconds else ""
        first_or_last = taken in (self._run.resumed_at + 1, self._run.settings.steps)
        self._show(taken, "  ".join(filter(None, [f"total {step.total:.4g}", *losses, rate])), now=first_or_last)
        if self._rate.timed == ESTIMATED_AFTER and not self._run.resumed_at:
            self._warn_if_long()

    def _eta(self, done: int, total: int) -> str:
        seconds = self._rate.seconds
        return "" if seconds is None or done == total else f"ETA {duration(seconds * (total - done))}"

    def _warn_if_long(self) -> None:
        """Print the expected duration of a long run, and an option with which it would be short."""
        from vitsplice.runs.duration import affordable

        seconds, steps = self._rate.seconds or 0.0, self._run.settings.steps
        if seconds * steps <= LONG:
            return
        began = self._clock()
        shorter = affordable(self._run, seconds, SHORT, self._clock)
        self._rate.leave_out(self._clock() - began)
        self.note(
            f"this run will take about {duration(seconds * steps)} ({steps} steps of {seconds:.2g} s); "
            f"with {option(shorter)}, about {SHORT / 60:.0f} minutes; Ctrl-C stops it and saves the image",
            style="bold yellow",
        )

    def saved(self, folder: RunFolder, *, finished: bool = False) -> None:
        """Print the path of the output on standard output, and the report and resume command on standard error."""
        if not finished:
            self.note(f"stopped after {len(self._run.history)} of {self._run.settings.steps} steps; the image is saved")
            self.note(f"resume with: {self._resume_command}")
        if folder.report.is_file():
            self.note(f"report: {folder.report}")
        print(folder.output, flush=True)

    def metrics(self, result: Result) -> None:
        """Print the metrics as a table; those that the run optimised are marked."""
        if not result.metrics:
            return
        names = image_names(result.record)
        has_start = any(metric.start is not None for metric in result.metrics)
        columns = ("metric", "output", *["start"] * has_start, "unchanged", "compared with")
        title = f"lower is better; {'start: before the first step; ' * has_start}unchanged: the structure image"
        table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, collapse_padding=True)
        for metric in result.metrics:
            mark = f" ({REMARKS[metric.leakage]})" if metric.leakage in REMARKS else ""
            reason = f"; not measured: {metric.reason}" if metric.reason else ""
            values = (metric.value, *[metric.start] * has_start, metric.unchanged)
            cells = ["-" if value is None else f"{value:.3g}" for value in values]
            table.add_row(metric.name, *cells, plain(f"{names[metric.against]}{mark}{reason}"))
        self._console.print(table)


class PartsProgress(ProgressDisplay):
    """The progress of work in parts."""

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show the name of the next part, and the number of parts that are done."""
        self._show(done, truncate(plain(name), WIDEST), total=total)


class BatchProgress(ProgressDisplay):
    """The progress of a batch.

    Args:
        total: number of jobs.
    """

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._reasons: deque[str] = deque(maxlen=100)

    def show(self, tally: Tally, outcome: Outcome | None) -> None:
        """Show the tally after an outcome; each new failure reason is printed."""
        if outcome and outcome.reason and outcome.reason not in self._reasons:
            self.note(f"{outcome.id}: {outcome.state}: {outcome.reason}")
            self._reasons.append(outcome.reason)
        ended = tally.done + tally.failures
        rate = ended / (self._clock() - self._began)
        eta = f"ETA {duration(tally.remaining / rate)}" if ended else "ETA unknown"
        counts = f"{tally.done_before + tally.done} done, {tally.failures} failed, {tally.remaining} left"
        self._show(tally.total - tally.remaining, f"{counts}  {rate * 60:.3g}/min  {eta}")

    def _eta(self, done: int, total: int) -> str:
        return ""

    def summarise(self, tally: Tally, out: Path, *, stopped: bool) -> None:
        """Print the result of the batch, and on standard output the path of its results."""
        from vitsplice.batch.plan import FAILURES, RESULTS
        from vitsplice.batch.records import failure_reasons

        before = f" ({tally.done_before} of them before)" if tally.done_before else ""
        self.note(f"{tally.done_before + tally.done} of {tally.total} runs done{before}, {tally.failures} failed")
        shown = failure_reasons(out, SHOWN_REASONS)
        for reason in shown:
            others = f" and {reason.jobs - 1} others" if reason.jobs > 1 else ""
            self.note(f"  {reason.first}{others}: {reason.message}")
        if tally.failures:
            more = tally.failures - sum(reason.jobs for reason in shown)
            self.note(f"  {f'and {more} more; ' if more else ''}all of them: {out / FAILURES}")
        if stopped and tally.remaining:
            self.note(f"stopped with {tally.remaining} left; the same command resumes")
        print(out / RESULTS, flush=True)


@contextmanager
def parts_progress() -> Iterator[ProgressReporter]:
    """Report the parts of long work; the first Ctrl-C or SIGTERM stops it after the current part."""
    with Interrupt() as interrupt, PartsProgress() as display:
        yield ProgressReporter(display, display.note, lambda: interrupt.requested)


def unless_stopped(output: Output | None) -> Output:
    """Return the output of long work; exit with status 130 if it is None because the work was stopped."""
    if output is None:
        typer.echo("stopped; finished parts are stored, and the same command resumes", err=True)
        raise typer.Exit(130)
    return output


def _notes(image: LoadedImage) -> str:
    return "".join(f"; {note}" for note in image.notes)


def duration(seconds: float) -> str:
    """Format a time in seconds: below 100 as seconds, above as ``h:mm:ss``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
