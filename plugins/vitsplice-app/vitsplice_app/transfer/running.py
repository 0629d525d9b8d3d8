"""Runs of the page: begun, stopped and resumed as on the command line, in folders of the workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from vitsplice.errors import VitspliceError
from vitsplice.support.step_rate import StepRate
from vitsplice_app.backbones import shared_backbones
from vitsplice_app.transfer.history import TransferRun
from vitsplice_app.transfer.live import Progress

if TYPE_CHECKING:
    from vitsplice.runs.recorder import Recording

EVERY = 0.5
"""Minimum seconds between two states of a run on the page."""

SHARE = 0.1
"""Maximum fraction of the run time that the states may take."""

PREVIEW_SIDE = 640
"""Longer side of a preview in pixels."""

Stopped = Callable[[], bool]


@dataclass
class Pace:
    """Decides when the next state of a run is shown: not more often than `EVERY`, and at a cost of at most `SHARE`.

    Args:
        clock: returns the current time in seconds.
    """

    clock: Callable[[], float] = perf_counter
    _next: float = field(default=float("-inf"), init=False)

    def due(self) -> bool:
        """Return whether a state is due."""
        return self.clock() >= self._next

    def shown(self, began: float) -> None:
        """Record that a state was shown, which took the time since ``began``."""
        now = self.clock()
        self._next = now + max(EVERY, (now - began) / SHARE)


def begin(run: TransferRun, stopped: Stopped = lambda: False) -> Iterator[Progress]:
    """Take the steps of a new run, until the last one or ``stopped``, and save it.

    Args:
        run: run whose folder holds nothing but its images.
        stopped: called after each step; True stops the run, which `resume` continues.

    Yields:
        The state of the run, at most every `EVERY` seconds.

    Raises:
        VitspliceError: see `vitsplice.runs.recorder.Recording`. If a step fails, the last good output is saved.
    """
    from vitsplice.runs.recorder import Recording

    yield Progress("loading backbones, matching the images")
    images = {name: run.path / path for name, path in run.images.items()}
    yield from _follow(Recording.begin(images, run.settings, run.path, backbones=shared_backbones()), stopped)


def resume(run: TransferRun, stopped: Stopped = lambda: False) -> Iterator[Progress]:
    """Resume a run that was stopped; its output has the bytes of a run that was not. See `begin`."""
    from vitsplice.runs.recorder import Recording

    yield Progress("resuming")
    yield from _follow(Recording.resume(run.path, backbones=shared_backbones()), stopped)


def _follow(recording: Recording, stopped: Stopped) -> Iterator[Progress]:
    """Take the steps of a run and save it."""
    display = _Display(recording)
    with recording:
        try:
            if recording.run.settings.steps:
                yield display.state("optimising")
            for _ in recording.steps(display.note):
                display.rate.step_done()
                if stopped():
                    break
                if display.pace.due():
                    yield display.state("optimising")
        except Exception:
            with suppress(VitspliceError):
                recording.save()
            raise
        yield display.state("measuring and saving")
        recording.finish(display.note)


@dataclass
class _Display:
    """The states of a run, in their pace."""

    recording: Recording
    pace: Pace = field(default_factory=Pace)
    rate: StepRate = field(default_factory=StepRate)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.notes += map(str, self.recording.run.substitutions.values())

    def note(self, line: str) -> None:
        """Keep a note of the recording; those on written previews are left out."""
        if not line.startswith("preview "):
            self.notes.append(line)

    def state(self, doing: str) -> Progress:
        """Return the state of the run, with a preview of its current output."""
        from vitsplice.support.page import data_uri

        began, run = self.pace.clock(), self.recording.run
        pixels = run.pixels()
        taken, left = len(run.history), run.settings.steps - len(run.history)
        state = Progress(
            doing,
            taken,
            run.settings.steps,
            None if self.rate.seconds is None else self.rate.seconds * left,
            data_uri(pixels, PREVIEW_SIDE),
            pixels.shape[-1],
            pixels.shape[-2],
            tuple(run.history),
            list(run.settings.terms),
            tuple(self.notes),
        )
        self.pace.shown(began)
        return state
