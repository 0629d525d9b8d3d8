"""Runs of the page: begin, stop and resume as on the command line, in folders of the workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from vitsplice.errors import VitspliceError
from vitsplice.runs.inputs import regions_from
from vitsplice_app.backbones import shared_backbones
from vitsplice_app.live import Display, Progress
from vitsplice_app.transfer.history import TransferRun

if TYPE_CHECKING:
    from vitsplice.runs.recorder import Recording

Stopped = Callable[[], bool]


def begin(run: TransferRun, stopped: Stopped = lambda: False) -> Iterator[Progress]:
    """Take the steps of a new run, until the last step or ``stopped``, and save the run.

    Args:
        run: run whose folder holds nothing but its images; its ``notes`` are replaced.
        stopped: called after each step; True stops the run, which `resume` can continue.

    Yields:
        The state of the run: before the first step, after steps at the pace of `vitsplice_app.live.Display`, and before
        the run is saved.

    Raises:
        VitspliceError: see `vitsplice.runs.recorder.Recording`. If a step fails, the current output is saved first if
            possible; after a loss that is not finite, it is the last valid output.
    """
    from vitsplice.runs.recorder import Recording

    yield Progress("loading backbones, matching the images")
    images = {name: run.path / path for name, path in run.images.items()}
    regions = regions_from(images, range(len(run.regions)))
    recording = Recording.begin(images, run.settings, run.path, regions=regions, backbones=shared_backbones())
    yield from _follow(recording, run, stopped)


def resume(run: TransferRun, stopped: Stopped = lambda: False) -> Iterator[Progress]:
    """Resume a stopped run and save it; its output has the same bytes as without the stop. See `begin`."""
    from vitsplice.runs.recorder import Recording

    yield Progress("resuming")
    yield from _follow(Recording.resume(run.path, backbones=shared_backbones()), run, stopped)


def _follow(recording: Recording, run: TransferRun, stopped: Stopped) -> Iterator[Progress]:
    """Take the remaining steps of a run and save the run. See `begin`."""
    run.notes.clear()
    display = Display(recording.run, notes=run.notes)
    with recording:
        try:
            if recording.run.settings.steps:
                yield display.state("optimising")
            for _ in recording.steps(display.note):
                due = display.step_done()
                if stopped():
                    break
                if due:
                    yield display.state("optimising")
        except Exception:
            with suppress(VitspliceError):
                recording.save()
            raise
        yield replace(display.state("measuring and saving"), seconds_left=None)  # no more steps are taken
        recording.finish(display.note)
