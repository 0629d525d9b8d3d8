"""Progress and results of a run, on standard error."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from vitsplice.cli.output import option
from vitsplice.cli.progress import StepProgress
from vitsplice.engine.device import is_emulated, pick_device
from vitsplice.metrics.leakage import REMARKS
from vitsplice.runs.inputs import described
from vitsplice.runs.record import describe_sizes, has_single_image, image_names, legend
from vitsplice.runs.regions import is_coloured
from vitsplice.text import duration, plain, truncate

if TYPE_CHECKING:
    from vitsplice.engine.values import Step
    from vitsplice.images import LoadedImage
    from vitsplice.runs.artifacts import RunFolder
    from vitsplice.runs.result import Result
    from vitsplice.runs.run import Run

MAX_SETTINGS_LENGTH = 600
"""Maximum number of characters of a printed list of settings."""

LONG = 20 * 60.0
"""Expected duration of a run in seconds above which a warning is printed."""

SHORT = 15 * 60.0
"""Duration in seconds of the shorter run that the warning suggests."""

ESTIMATED_AFTER = 3
"""Number of timed steps after which the duration of a run is estimated."""


class RunProgress(StepProgress):
    """The progress of a run.

    Args:
        run: run that has not started, or was restored from a checkpoint.
        resume_command: command to print for a run that is stopped.
        clock: returns the current time in seconds.
    """

    def __init__(self, run: Run, resume_command: str, clock: Callable[[], float] = perf_counter) -> None:
        super().__init__(run.settings.steps, run.resumed_at, clock)
        self._run, self._resume_command = run, resume_command
        self._introduce()

    def _introduce(self) -> None:
        """Print inputs, backbones, settings, sizes, the resumed step, and warnings, such as a substitution."""
        settings = self._run.settings
        record = self._run.record()
        names = image_names(record)
        images = list(self._run.images.items())
        for role, image in images[:1] if has_single_image(record) else images:
            height, width = image.pixels.shape[-2:]
            self.note(f"{names[role]} {image.name}, {width}x{height} px{_notes(image)}")
        for role, mask in self._run.masks.items():
            self.note(f"{described(f'{role}_mask')} {mask.name}, {float(mask.pixels.mean()):.0%} white{_notes(mask)}")
        for number, region in enumerate(self._run.regions, 1):
            mask, source = region.structure_mask, names[self._run.appearances[region.appearance]]
            extent = "a region for each colour" if is_coloured(mask) else f"{float(mask.pixels.mean()):.0%} white"
            self.note(f"region {number} {mask.name}, {extent}, from {source}")
        self.introduce_backbones(self._run.backbones.values())
        preset = f"preset {settings.preset}, " if settings.preset else ""
        self.note(f"{preset}{settings.steps} steps on {settings.device} in {settings.precision}, seed {settings.seed}")
        self.note(describe_sizes(record["sizes"]))
        if self._run.resumed_at:
            self.note(f"resuming after step {self._run.resumed_at}")
        elif is_emulated(settings.precision, pick_device(settings.device)):
            self.note("this CPU emulates bfloat16, which is slow; --precision float32 is faster", style="bold yellow")
        for substitution in self._run.substitutions.values():
            self.note(f"SUBSTITUTION: {substitution}", style="bold yellow")
        if self._run.changed_for_fallback:
            keys = truncate(", ".join(self._run.changed_for_fallback), MAX_SETTINGS_LENGTH)
            self.note(f"with this substitute, the preset changes these settings: {keys}", style="bold yellow")

    def step(self, step: Step) -> None:
        """Show the losses of a step. If the run will be long, print a warning once, with a way to shorten the run."""
        super().step(step)
        if self._rate.timed == ESTIMATED_AFTER and not self._run.resumed_at:
            self._warn_if_long()

    def _warn_if_long(self) -> None:
        """If the run will be long, print its expected duration, and an option with which it would be short."""
        from vitsplice.runs.duration import suggest_argument

        seconds, steps = self._rate.seconds or 0.0, self._run.settings.steps
        if seconds * steps <= LONG:
            return
        began = self._clock()
        shorter = suggest_argument(self._run, seconds, SHORT, self._clock)
        self._rate.leave_out(self._clock() - began)
        self.note(
            f"this run will take about {duration(seconds * steps)} ({steps} steps of {seconds:.2g} s); "
            f"with {option(shorter)}, about {SHORT / 60:.0f} minutes; Ctrl-C stops it and saves the image",
            style="bold yellow",
        )

    def saved(self, folder: RunFolder, *, finished: bool = False, resumable: bool = True) -> None:
        """Print the path of the output on standard output, and the report and resume command on standard error."""
        if not finished:
            self.note(f"stopped after {len(self._run.history)} of {self._run.settings.steps} steps; the image is saved")
            if resumable:
                self.note(f"resume with: {self._resume_command}")
        if folder.report.is_file():
            self.note(f"report: {folder.report}")
        print(folder.output, flush=True)

    def metrics(self, result: Result) -> None:
        """Print the metrics as a table; those that are biased in favour of the run are marked."""
        if not result.metrics:
            return
        names = image_names(result.record)
        has_start = any(metric.start is not None for metric in result.metrics)
        columns = ("metric", "output", *["start"] * has_start, "unchanged", "compared with")
        title = legend(columns)
        table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, collapse_padding=True)
        for metric in result.metrics:
            mark = f" ({REMARKS[metric.leakage]})" if metric.leakage in REMARKS else ""
            reason = f"; not measured: {metric.reason}" if metric.reason else ""
            values = (metric.value, *[metric.start] * has_start, metric.unchanged)
            cells = ["-" if value is None else f"{value:.3g}" for value in values]
            compared = Text(plain(f"{names[metric.against]}{reason}"))
            table.add_row(Text(plain(f"{metric.name}{mark}")), *cells, compared)
        self._console.print(table)


def _notes(image: LoadedImage) -> str:
    return "".join(f"; {note}" for note in image.notes)
