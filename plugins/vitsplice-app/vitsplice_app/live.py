"""The state of long work on the page, as HTML: progress, preview, losses; and the pace at which states are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from time import perf_counter
from typing import TYPE_CHECKING

from vitsplice.support.step_rate import StepRate
from vitsplice.text import duration

if TYPE_CHECKING:
    from vitsplice.engine.values import Step
    from vitsplice.runs.run import Run

MIN_INTERVAL = 0.5
"""Minimum time in seconds between two states that are shown."""

MAX_SHARE = 0.1
"""Maximum fraction of a run's time that is spent on preparing states."""

PREVIEW_SIDE = 640
"""Maximum longer side of a preview in pixels."""

WIDTH, HEIGHT = 160, 28
"""Size of the curve of a loss, in units of its SVG image."""


@dataclass(frozen=True)
class Progress:
    """The state of a run between two steps, or of other work between two parts.

    Args:
        doing: current activity, such as 'optimising'.
        taken, total: number of finished steps (or other parts, see ``unit``) and of all; total 0: not counted.
        seconds_left: estimate of the seconds that remain; None if it is unknown.
        preview: data URI of the current output, scaled down; "" if there is none yet.
        width, height: size of the output in pixels; without a preview they have no effect.
        history: losses of the steps taken.
        terms: names of the loss terms.
        notes: messages for the user, such as that a fallback replaces a backbone.
        unit: name of what ``taken`` and ``total`` count, in the plural.
    """

    doing: str
    taken: int = 0
    total: int = 0
    seconds_left: float | None = None
    preview: str = ""
    width: int = 1
    height: int = 1
    history: Sequence[Step] = ()
    terms: Sequence[str] = ()
    notes: Sequence[str] = ()
    unit: str = "steps"

    @property
    def sentence(self) -> str:
        """The progress in words."""
        steps = f", {self.taken} of {self.total} {self.unit}" if self.total else ""
        left = f", ETA {duration(self.seconds_left)}" if self.seconds_left is not None else ""
        return f"{self.doing}{steps}{left}"

    def html(self) -> str:
        """Format as HTML: sentence, bar, notes, preview and a curve for each loss."""
        bar = (
            f'<progress aria-label="{self.unit}" max="{self.total}" value="{self.taken}"></progress>'
            if self.total
            else ""
        )
        notes = "".join(f'<p class="note">{escape(note)}</p>' for note in self.notes)
        preview = (
            f'<img alt="preview of the output" src="{self.preview}" width="{self.width}" height="{self.height}">'
            if self.preview
            else ""
        )
        curves = loss_curves(self.history, self.terms)
        status = f'<p role="status" class="working">{escape(self.sentence)}</p>'
        return f'{status}{bar}{notes}<div class="live">{preview}{curves}</div>'


@dataclass
class Display:
    """Prepares the states of a run that the page shows, at a pace that observes `MIN_INTERVAL` and `MAX_SHARE`.

    Args:
        run: the run.
        notes: messages for the user, to which those about fallbacks are added.
    """

    run: Run
    notes: list[str] = field(default_factory=list)
    _rate: StepRate = field(default_factory=StepRate, init=False)
    _next: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        self.notes += map(str, self.run.substitutions.values())

    def note(self, line: str) -> None:
        """Add a message of the recording to the notes, unless the message is that a preview was written."""
        if not line.startswith("preview "):
            self.notes.append(line)

    def step_done(self) -> bool:
        """Record that a step has ended now; return whether a state is due."""
        self._rate.step_done()
        return perf_counter() >= self._next

    def state(self, doing: str) -> Progress:
        """Return the state of the run, with a preview of its current output; set when the next state is due.

        Args:
            doing: current activity.
        """
        from vitsplice.support.page import data_uri

        began, run = perf_counter(), self.run
        pixels = run.pixels()
        taken, left = len(run.history), run.settings.steps - len(run.history)
        state = Progress(
            doing,
            taken=taken,
            total=run.settings.steps,
            seconds_left=None if self._rate.seconds is None else self._rate.seconds * left,
            preview=data_uri(pixels, PREVIEW_SIDE),
            width=pixels.shape[-1],
            height=pixels.shape[-2],
            history=tuple(run.history),
            terms=list(run.settings.terms),
            notes=tuple(self.notes),
        )
        now = perf_counter()
        self._next = now + max(MIN_INTERVAL, (now - began) / MAX_SHARE)
        return state


def loss_curves(history: Sequence[Step], terms: Sequence[str]) -> str:
    """Format name, curve and last value of the total and of each active term as a table in HTML; "" without losses."""
    from vitsplice.runs.losses_plot import curves

    points = curves(history, terms)
    rows = [
        f'<tr><th scope="row">{escape(name)}</th><td>{_svg(name, values)}</td><td>{values[-1][1]:.3g}</td></tr>'
        for name, values in points.items()
    ]
    if not rows:
        return ""
    return f'<table class="losses"><caption>losses; lower is better</caption><tbody>{"".join(rows)}</tbody></table>'


def _svg(name: str, points: Sequence[tuple[int, float]]) -> str:
    """Draw a curve as SVG, on a log scale if all values are positive.

    Args:
        name: name of the loss.
        points: index of the step, from 0, and value of the loss.
    """
    first, last = points[0], points[-1]
    label = f"{name}: {first[1]:.3g} at step {first[0] + 1}, {last[1]:.3g} at step {last[0] + 1}"
    values = [value for _, value in points]
    heights = [math.log(value) for value in values] if min(values) > 0 else values
    low, span = min(heights), (max(heights) - min(heights)) or 1
    steps = max(1, last[0] - first[0])
    line = " ".join(
        f"{(step - first[0]) / steps * WIDTH:.1f},{(1 - (height - low) / span) * HEIGHT:.1f}"
        for (step, _), height in zip(points, heights, strict=True)
    )
    return (
        f'<svg viewBox="-2 -2 {WIDTH + 4} {HEIGHT + 4}" role="img" aria-label="{escape(label)}">'
        f'<polyline points="{line}"/></svg>'
    )
