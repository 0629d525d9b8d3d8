"""What a run shows while it goes: a bar with ETA, each loss, the step rate, and previews as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from vitsplice.cli.interrupt import Interrupt
from vitsplice.runs.artifacts import used
from vitsplice.runs.metadata import describe_sizes, sizes
from vitsplice.runs.report import one_image
from vitsplice.support.progress import ProgressReporter
from vitsplice.text import plain

if TYPE_CHECKING:
    from vitsplice.engine.loop import Step
    from vitsplice.runs.artifacts import RunFolder
    from vitsplice.runs.result import Result
    from vitsplice.runs.run import Run

Made = TypeVar("Made")

WIDEST = 60
"""Characters of what is being done; a file may have a longer name."""

PLAIN_EVERY = 10.0
"""Seconds between lines where the output is not a terminal."""


class Display:
    """Lines on standard error, above a bar where that is a terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    def note(self, line: str, style: str = "") -> None:
        """Say something above the bar."""
        self._console.print(Text(plain(line), style=style), soft_wrap=not self._console.is_terminal)


class Progress(Display):
    """Shows a run on standard error: a live bar on a terminal, a line now and then elsewhere."""

    def __init__(self, run: Run, again: str) -> None:
        super().__init__()
        self._again = again
        self._run = run
        self._began = self._last_line = perf_counter()
        self._bar = Bar(
            BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn()
        )
        self._task = self._bar.add_task("", total=run.settings.steps)
        self._live = Live(self._bar, console=self._console, transient=True)
        self._introduce()

    def _introduce(self) -> None:
        """What is about to be done, and everything that is not as was asked."""
        settings, info = self._run.settings, self._run.backbone.info
        one = len({image.sha256 for image in self._run.images.values()}) == 1  # as in an inversion
        for role, image in list(self._run.images.items())[: 1 if one else None]:
            notes = "".join(f"; {note}" for note in image.notes)
            height, width = image.pixels.shape[-2:]
            self.note(f"{'' if one else f'{role} '}image {image.name}, {width}x{height} px{notes}")
        for role, mask in self._run.masks.items():
            notes = "".join(f"; {note}" for note in mask.notes)
            self.note(f"{role} mask {mask.name}, {float(mask.pixels.mean()):.0%} inside{notes}")
        self.note(f"backbone {info.name} ({info.model}, {info.licence}), weights from {info.source}")
        preset = f"preset {settings.preset}, " if settings.preset else ""
        self.note(f"{preset}{settings.steps} steps on {settings.device} in {settings.precision}, seed {settings.seed}")
        self.note(describe_sizes(sizes(self._run)))
        if self._run.resumed_at:
            self.note(f"going on after step {self._run.resumed_at}")
        if self._run.substitution:
            self.note(f"SUBSTITUTION: {self._run.substitution}", style="bold yellow")

    def __enter__(self) -> Progress:
        self._began = self._last_line = perf_counter()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def step(self, step: Step) -> None:
        """Show that a step is done."""
        taken = step.index + 1
        rate = (taken - self._run.resumed_at) / (perf_counter() - self._began)
        losses = "  ".join(f"{name} {value:.4g}" for name, value in step.losses.items())
        line = f"total {step.total:.4g}  {losses}  {rate:.2f} steps/s"
        self._bar.update(self._task, completed=taken)
        self._live.update(Group(self._bar, Text(plain(line))))
        if not self._console.is_terminal and self._is_time(taken):
            left = (self._run.settings.steps - taken) / rate
            self.note(f"step {taken}/{self._run.settings.steps}  {line}  ETA {left:.0f} s")

    def _is_time(self, taken: int) -> bool:
        now = perf_counter()
        if taken in (self._run.resumed_at + 1, self._run.settings.steps) or now - self._last_line >= PLAIN_EVERY:
            self._last_line = now
            return True
        return False

    def saved(self, folder: RunFolder, *, finished: bool = False) -> None:
        """Say where the output is: on standard output, as the answer of the command."""
        if not finished:
            taken = len(self._run.history)
            self.note(f"stopped after {taken} of {self._run.settings.steps} steps; the image so far is kept")
            self.note(f"to go on: {self._again}")
        if folder.report.is_file():
            self.note(f"report: {folder.report}")
        print(folder.output, flush=True)

    def metrics(self, result: Result) -> None:
        """A small table of metrics; one that a term of the run optimised is marked."""
        if not result.metrics:
            return
        optimised, one = used(result.settings), one_image(result.facts)
        started = any(figure.start is not None for figure in result.metrics)  # not of a network, nor without steps
        columns = ("figure", "output", *["start"] * started, "unchanged", "against")
        title = f"lower is better; {'start: before the first step; ' * started}unchanged: the structure image"
        table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, collapse_padding=True)
        for figure in result.metrics:
            mark = " (optimised by this run)" if optimised.intersection(figure.optimised_by) else ""
            measured = (figure.value, *[figure.start] * started, figure.unchanged)
            values = ["-" if value is None else f"{value:.3g}" for value in measured]
            why = f"; not measured: {figure.reason}" if figure.reason else ""
            table.add_row(figure.name, *values, plain(f"{'image' if one else figure.against}{mark}{why}"))
        self._console.print(table)


class Parts(Display):
    """Shows on standard error how many of the parts of a long work are done: a bar on a terminal, lines elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._last_line = float("-inf")
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("ETA"), TimeRemainingColumn(), console=self._console, transient=True,
            disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("")
        self._began = perf_counter()

    def __enter__(self) -> Parts:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say what is being done, and how many of how many parts are done already."""
        what = plain(what) if len(what) <= WIDEST else f"{plain(what[: WIDEST - 3])}..."
        self._bar.update(self._task, description=what, completed=done, total=total)
        now = perf_counter()
        if not self._console.is_terminal and now - self._last_line >= PLAIN_EVERY:
            self._last_line, passed = now, now - self._began
            left = f"  ETA {passed / done * (total - done):.0f} s" if done else ""
            self.note(f"{done}/{total}  {what}  {passed:.0f} s{left}")


@contextmanager
def watched() -> Iterator[ProgressReporter]:
    """Long work within it shows its parts; the first Ctrl-C or SIGTERM stops it after the part at hand."""
    with Interrupt() as interrupt, Parts() as parts:
        yield ProgressReporter(parts, parts.note, lambda: interrupt.asked)


def unless_stopped(made: Made | None) -> Made:
    """What long work made; exits with 130 if it made nothing, because it was stopped."""
    if made is None:
        typer.echo("stopped; what is finished is kept, and the same command goes on", err=True)
        raise typer.Exit(130)
    return made
